#!/usr/bin/env python3
"""Stands in for a mail server, as far as Digdag's mail> operator calls it.

usage: mail_stand_in.py FILE

Appends each mail to FILE as it came. Listens on a free port of 127.0.0.1 and prints the port as its first line.
"""

import sys
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer

MAILS = Path(sys.argv[1])


class Handler(StreamRequestHandler):
    def handle(self):
        self.say("220 ready")
        for line in self.rfile:
            command = line.strip().upper()[:4]
            if command == b"DATA":
                self.say("354 go on")
                with MAILS.open("ab") as file:
                    while (part := self.rfile.readline()) not in (b".\r\n", b""):
                        file.write(part)
            self.say("221 bye" if command == b"QUIT" else "250 ok")

    def say(self, text):
        self.wfile.write(f"{text}\r\n".encode())


with ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
    print(server.server_address[1], flush=True)
    server.serve_forever()
