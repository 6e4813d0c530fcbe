"""The sequence parameter set of H.264 (ITU-T H.264, 7.3.2.1.1), as far as it tells of interlacing."""

from __future__ import annotations

_EXTENDED_PROFILES = (100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135)
_START_CODE = b"\0\0\1"
_SPS = 7  # type of NAL unit
_AVCC = b"\1"  # its first byte, the version
_AVCC_SPS_OFFSET = 6  # after version, profile, level, number of bytes of lengths, and number of units


def may_have_fields(data: bytes, extradata: bytes | None = None) -> bool:
    """Return whether pictures may be fields or consist of such; False if no parameters can be read.

    Args:
        data: extradata of the decoder (avcC, or units behind start codes), or a packet.
        extradata: of the decoder, if ``data`` is a packet: it tells how that is divided into units.
    """
    try:
        units = _extradata_units(data) if extradata is None else _packet_units(data, extradata)
        parameters = [unit[1:].replace(b"\0\0\3", b"\0\0") for unit in units if unit and unit[0] & 31 == _SPS]
        return not all(map(_frame_mbs_only, parameters))
    except (IndexError, ValueError):
        return False


def _extradata_units(data: bytes) -> list[bytes]:
    """Return the units; of avcC, only the sequence parameter sets."""
    if data[:1] != _AVCC:
        return data.split(_START_CODE)[1:]
    return _prefixed_units(data[_AVCC_SPS_OFFSET:], 2)[: data[_AVCC_SPS_OFFSET - 1] & 31]


def _packet_units(data: bytes, extradata: bytes) -> list[bytes]:
    if extradata[:1] != _AVCC:
        return data.split(_START_CODE)[1:]
    return _prefixed_units(data, (extradata[_AVCC_SPS_OFFSET - 2] & 3) + 1)


def _prefixed_units(data: bytes, prefix: int) -> list[bytes]:
    """Return units that are preceded by their lengths, numbers of ``prefix`` bytes."""
    units, position = [], 0
    while position + prefix < len(data):
        begin = position + prefix
        position = begin + int.from_bytes(data[position:begin], "big")
        units.append(data[begin:position])
    return units


def _frame_mbs_only(data: bytes) -> bool:
    bits = _Bits(data)
    profile = bits.read(8)
    bits.read(16)  # constraints, level
    bits.unsigned()
    if profile in _EXTENDED_PROFILES:
        _skip_format(bits)
    bits.unsigned()
    order_type = bits.unsigned()
    if order_type == 0:
        bits.unsigned()
    elif order_type == 1:
        bits.read(1)
        bits.unsigned()
        bits.unsigned()
        for _ in range(bits.unsigned()):
            bits.unsigned()
    bits.unsigned()  # reference frames
    bits.read(1)
    bits.unsigned()
    bits.unsigned()  # width and height
    return bool(bits.read(1))


def _skip_format(bits: _Bits) -> None:
    """Skip the chroma format, the bit depths and the scaling lists."""
    chroma_format = bits.unsigned()
    if chroma_format == 3:
        bits.read(1)
    bits.unsigned()
    bits.unsigned()
    bits.read(1)
    if not bits.read(1):
        return
    for number in range(12 if chroma_format == 3 else 8):
        if not bits.read(1):
            continue
        last = following = 8
        for _ in range(16 if number < 6 else 64):
            if following:
                following = (last + bits.signed()) % 256
            last = following or last


class _Bits:
    """Reads bits and Exp-Golomb codes."""

    def __init__(self, data: bytes) -> None:
        self._data, self._position = data, 0

    def read(self, count: int) -> int:
        """Return the next bits as a number; raise IndexError at the end."""
        value = 0
        for _ in range(count):
            value = value << 1 | self._data[self._position >> 3] >> (7 - self._position % 8) & 1
            self._position += 1
        return value

    def unsigned(self) -> int:
        """Return an unsigned code; the number of a signed one, too, where only its length matters."""
        zeros = 0
        while not self.read(1):
            zeros += 1
        return (1 << zeros) - 1 + self.read(zeros)

    def signed(self) -> int:
        """Return a signed code."""
        number = self.unsigned()
        return (number + 1) // 2 if number % 2 else -(number // 2)
