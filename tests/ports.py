"""A port of this host that no program listens on; as a program, it prints one."""

import random
import socket


def free_port():
    # Below the ports that the kernel gives to outgoing connections: one of those may be taken before it is listened on.
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) != 0:
                return port


if __name__ == "__main__":
    print(free_port())
