"""Pictures and pages of clips, data sets and stores."""
