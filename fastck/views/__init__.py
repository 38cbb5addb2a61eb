"""What people look at: tables for the terminal, sheets, animations and pages of data sets, stores and sequences."""
