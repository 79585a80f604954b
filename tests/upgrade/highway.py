"""HighwayHash-64, the checksum of a message in a NATS store."""

MASK = (1 << 64) - 1
MUL0 = (0xDBE6D5D5FE4CCE2F, 0xA4093822299F31D0, 0x13198A2E03707344, 0x243F6A8885A308D3)
MUL1 = (0x3BD39E10CB0EF593, 0xC0ACF169B5F18A8C, 0xBE5466CF34E90C6C, 0x452821E638D01377)


def _swapped(x):
    return (x >> 32) | (x << 32) & MASK


def _rotated(x, count):
    """Each half rotated by itself."""
    if count == 0:
        return x
    low, high = x & 0xFFFFFFFF, x >> 32
    low = (low << count | low >> (32 - count)) & 0xFFFFFFFF
    high = (high << count | high >> (32 - count)) & 0xFFFFFFFF
    return high << 32 | low


def _zipper(v1, v0):
    low = (
        ((v0 & 0xFF000000) | (v1 & 0xFF00000000)) >> 24
        | ((v0 & 0xFF0000000000) | (v1 & 0xFF000000000000)) >> 16
        | (v0 & 0xFF0000)
        | (v0 & 0xFF00) << 32
        | (v1 & 0xFF00000000000000) >> 8
        | v0 << 56 & MASK
    )
    high = (
        ((v1 & 0xFF000000) | (v0 & 0xFF00000000)) >> 24
        | (v1 & 0xFF0000)
        | (v1 & 0xFF0000000000) >> 16
        | (v1 & 0xFF00) << 24
        | (v0 & 0xFF000000000000) >> 8
        | (v1 & 0xFF) << 48
        | (v0 & 0xFF00000000000000)
    )
    return high, low


class _State:
    def __init__(self, key):
        lanes = [int.from_bytes(key[i : i + 8], "little") for i in range(0, 32, 8)]
        self.mul0, self.mul1 = list(MUL0), list(MUL1)
        self.v0 = [m ^ k for m, k in zip(MUL0, lanes)]
        self.v1 = [m ^ _swapped(k) for m, k in zip(MUL1, lanes)]

    def update(self, lanes):
        v0, v1, mul0, mul1 = self.v0, self.v1, self.mul0, self.mul1
        for i in range(4):
            v1[i] = (v1[i] + mul0[i] + lanes[i]) & MASK
            mul0[i] ^= (v1[i] & 0xFFFFFFFF) * (v0[i] >> 32)
            v0[i] = (v0[i] + mul1[i]) & MASK
            mul1[i] ^= (v0[i] & 0xFFFFFFFF) * (v1[i] >> 32)
        for to, of in ((v0, v1), (v1, v0)):
            for i in (0, 2):
                high, low = _zipper(of[i + 1], of[i])
                to[i] = (to[i] + low) & MASK
                to[i + 1] = (to[i + 1] + high) & MASK

    def packet(self, data):
        self.update([int.from_bytes(data[i : i + 8], "little") for i in range(0, 32, 8)])

    def rest(self, data):
        size, mod4 = len(data), len(data) & 3
        self.v0 = [(v + (size << 32) + size) & MASK for v in self.v0]
        self.v1 = [_rotated(v, size) for v in self.v1]
        packet, tail = bytearray(32), data[size & ~3 :]
        packet[: size & ~3] = data[: size & ~3]
        if size & 16:
            packet[28:32] = data[size - 4 : size]
        elif mod4:
            packet[16], packet[17], packet[18] = tail[0], tail[mod4 >> 1], tail[mod4 - 1]
        self.packet(packet)

    def digest(self):
        for _ in range(4):
            self.update([_swapped(self.v0[i]) for i in (2, 3, 0, 1)])
        return (self.v0[0] + self.v1[0] + self.mul0[0] + self.mul1[0]) & MASK


def hash64(key, data):
    """The digest as the store writes it."""
    state, whole = _State(key), len(data) - len(data) % 32
    for i in range(0, whole, 32):
        state.packet(data[i : i + 32])
    if whole < len(data):
        state.rest(data[whole:])
    return state.digest().to_bytes(8, "little")
