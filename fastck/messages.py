"""Wording shared by everything that tells users about files: names and reasons that fit on one line."""


def one_line(text: object) -> str:
    """Return the text with line breaks, control and undecodable characters escaped."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in str(text)
    )


def reason(error: OSError) -> str:
    """Return what the system says about an error in lower case: "permission denied"."""
    return one_line(error.strerror or error).lower()
