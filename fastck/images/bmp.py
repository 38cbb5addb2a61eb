"""BMP files with run-length encoding, checked for pixels that are left out: decoders leave them black."""

from fastck.images.header import ImageError, ImageHeader

# Where the fields are in the file.
_DATA, _COMPRESSION = 10, 30
_SHORT_HEADER = 12
_RLE8, _RLE4 = 1, 2
_END_OF_ROW, _END_OF_IMAGE = 0, 1


def check_bmp(content: bytes, header: ImageHeader) -> None:
    """Refuse a BMP file that does not give each of its pixels.

    Raises
    ------
    ImageError
        If the file is cut off, or if its run-length encoding skips pixels or goes beyond the image.
    """
    start, compression = (int.from_bytes(content[at : at + 4], "little") for at in (_DATA, _COMPRESSION))
    # Headers of OS/2 end before that.
    if compression in (_RLE8, _RLE4) and content[14] != _SHORT_HEADER:
        _check_runs(content[start:], header, compression)


def _check_runs(runs: bytes, header: ImageHeader, compression: int) -> None:
    at = x = n_rows = 0
    ended = False
    while not ended and at + 1 < len(runs):
        count, value = runs[at : at + 2]
        at += 2
        if count:
            x += count
        elif value > 2:
            # Pixels as they are, padded to 16 bits.
            n_bytes = value if compression == _RLE8 else -(-value // 2)
            x, at = x + value, at + n_bytes + n_bytes % 2
        elif value in (_END_OF_ROW, _END_OF_IMAGE) and (x == header.width or (value == _END_OF_IMAGE and x == 0)):
            ended = value == _END_OF_IMAGE
            x, n_rows = 0, n_rows + (x > 0)
        else:
            break
    if not ended or n_rows != header.height:
        raise ImageError(f"the BMP file is damaged, cut off or leaves pixels out after row {n_rows} of {header.height}")
