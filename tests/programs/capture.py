"""Captures what passes the loopback device: each packet into the file that is its argument. It says `made` when
it is ready. When the kernel had no room for a packet, it makes a file of that name and `.lost`."""

import mmap
import select
import socket
import struct
import sys

ETH_P_ALL, SOL_PACKET, PACKET_RX_RING, PACKET_STATISTICS, PACKET_VERSION, TPACKET_V3 = 3, 263, 5, 6, 10, 2
# 32 MiB, for bursts; a block is handed over when it is full, or after 20 ms.
BLOCK, BLOCKS, FRAME, HANDED_OVER_MS = 1 << 20, 32, 2048, 20
# Where a block says whether it is ours, and its length.
STATUS, LENGTH = 8, 20

packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
packets.setsockopt(SOL_PACKET, PACKET_VERSION, TPACKET_V3)
ring = struct.pack("7I", BLOCK, BLOCKS, FRAME, BLOCK // FRAME * BLOCKS, HANDED_OVER_MS, 0, 0)
packets.setsockopt(SOL_PACKET, PACKET_RX_RING, ring)
memory = mmap.mmap(packets.fileno(), BLOCK * BLOCKS)
packets.bind(("lo", ETH_P_ALL))


def lost():
    _, dropped, _ = struct.unpack("3I", packets.getsockopt(SOL_PACKET, PACKET_STATISTICS, 12))
    return dropped > 0


def keep(out):
    poll, at = select.poll(), 0
    poll.register(packets, select.POLLIN)
    while True:
        while not memory[at + STATUS] & 1:
            poll.poll()
        if lost():
            open(sys.argv[1] + ".lost", "w").close()
        # The packets stand in it one after the other, each whole; what is between them does no harm.
        (length,) = struct.unpack_from("I", memory, at + LENGTH)
        out.write(memory[at : at + length])
        out.flush()
        struct.pack_into("I", memory, at + STATUS, 0)
        at = (at + BLOCK) % (BLOCK * BLOCKS)


with open(sys.argv[1], "wb") as out:
    print("made", flush=True)
    keep(out)
