#!/usr/bin/env python3
"""app and RFC 9112, 9110 and 8259: what is not as they say is refused, and how.

    APP=path/of/app python3 tests/system/test_app_rfc.py [Class.test]
"""
import select
import signal
import unittest

from test_app import GET, HOST, JSON, POST, Reply, Shared, ask, wait_for


class Rfc(Shared):
    def test_head_is_answered_without_a_body_whatever_is_wrong(self):
        app, head = self.start(env={"APP_TIMEOUT_MS": "300"}), "HEAD /get HTTP/1.1\r\n"
        for status, request in ((404, f"HEAD / HTTP/1.1\r\n{HOST}Connection: close\r\n\r\n"),
                                (417, head + HOST + "Expect: x\r\n\r\n"),
                                (400, head + "\r\n"), (400, head + "X : y\r\n\r\n"),
                                (431, head + "X: " + "y" * 9000), (414, "HEAD /" + "y" * 9000),
                                (408, head)):
            app.halt()  # its limit begins when all of the request is there
            with self.subTest(status=status), app.connect() as s, s.makefile("rb") as f:
                s.sendall(request.encode())
                app.signal(signal.SIGCONT)
                reply = Reply(f, head=True)
                self.assertEqual(reply.status, status)
                self.assertGreater(int(reply.headers["content-length"]), 0)
                self.assertEqual(f.read(), b"")

    def test_errors(self):
        for status, request in (
                (404, "GET / HTTP/1.1\r\n" + HOST + "\r\n"),
                (400, POST + JSON + "Content-Length: 1\r\n\r\n{"),
                (400, POST + JSON + "\r\n"),
                (400, POST + JSON + "Content-Length: 3\r\n\r\n[\0]"),
                (400, POST + JSON + "Content-Length: 50000\r\n\r\n" + "[" * 50000),
                (400, POST + JSON + "Content-Length: 49999\r\n\r\n" + '{"":' * 12499 + "nul"),
                (415, POST + "Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}"),
                (415, POST + "Content-Length: 2\r\n\r\n{}"),
                (413, POST + JSON + "Content-Length: 102401\r\n\r\n"),
                (413, POST + JSON + "Transfer-Encoding: chunked\r\n\r\n19001\r\n"),
                (414, "GET /" + "a" * 9000),
                (431, GET + "X: " + "a" * 9000),
                (431, GET + "x: y\r\n" * 101),
                (431, GET + ("x: " + "y" * 1000 + "\r\n") * 17),
                (417, GET + "Expect: magic\r\n\r\n"),
                (505, "GET /get HTTP/2.0\r\n" + HOST + "\r\n"),
                (400, "GET /get HTTP/1.1\r\n\r\n"),
                (400, "GET /get HTTP/1.1\r\nHost: a b\r\n\r\n"),
                (400, GET + ": y\r\n\r\n"),
                (400, "GET http://u@h/get HTTP/1.1\r\n" + HOST + "\r\n"),
                (400, "GET * HTTP/1.1\r\n" + HOST + "\r\n"),
                (400, "GET /get RTSP/1.0\r\n\r\n"),
                (421, "GET https://h/get HTTP/1.1\r\n" + HOST + "\r\n"),
                (431, POST + "Transfer-Encoding: chunked\r\n\r\n0\r\n" + "x: y\r\n" * 101),
                (501, "CONNECT h:443 HTTP/1.1\r\n" + HOST + "\r\n"),
                (501, "BREW /get HTTP/1.1\r\n" + HOST + "\r\n"),
                (505, "GET /get HTTP/1.2\r\n" + HOST + "\r\n"),
                (505, "GET /get\r\n\r\n"),
                (400, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
                (400, "\x16\x03\x01"),
                (400, "G\0T")):
            with self.subTest(request=request[:70]):
                self.is_error(self.ask(request), status)

    def test_smuggling(self):
        """Nothing after an ambiguous request is ever answered."""
        inner = GET + "\r\n"
        chunks = "0\r\n\r\n" + inner
        for request in (
                POST + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks,
                POST + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n" + chunks,
                POST + "Content-Length: 5\r\nContent-Length: 6\r\n\r\n" + chunks,
                POST + "Content-Length: 5, 5\r\n\r\n" + chunks,
                POST + "Content-Length: +5\r\n\r\n" + chunks,
                POST + "Content-Length : 5\r\n\r\n" + chunks,
                POST + "Transfer-Encoding: xchunked\r\n\r\n" + chunks,
                POST + "Transfer-Encoding: chunked, identity\r\n\r\n" + chunks,
                POST + "Transfer-Encoding: \vchunked\r\n\r\n" + chunks,
                POST + "Transfer-Encoding:\r\n chunked\r\n\r\n" + chunks,
                POST + "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n" + chunks,
                "POST /post HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks,
                POST + "Transfer-Encoding: chunked\r\n\r\n-0\r\n\r\n" + inner,
                POST + "Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n" + inner,
                POST + "Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n" + chunks,
                POST + "Transfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n" + chunks,
                POST + "Transfer-Encoding: chunked\r\n\r\n0\r\n\n" + inner,
                POST + "Transfer-Encoding: chunked\r\n\r\n0\r\nx: y\r\n z\r\n\r\n" + inner,
                "CONNECT h:1 HTTP/1.1\r\n" + HOST + "\r\n" + inner,
                "GET /get  HTTP/1.1\r\n" + HOST + "\r\n" + inner,
                "\r" + inner + inner,
                GET + ":\r\n\r\n" + inner,
                GET + "X: y\n\n" + inner,
                GET + "X: y\0z\r\n\r\n" + inner,
                GET + "X: y\rContent-Length: 5\r\n\r\n" + inner,
                GET + "Host: other\r\n\r\n" + inner):
            with self.subTest(request=request[40:110]):
                with self.app.connect() as s, s.makefile("rb") as f:
                    s.sendall(request.encode("latin1"))
                    reply = Reply(f)
                    self.assertIn(reply.status, (400, 501))
                    self.assertTrue(reply.closes)
                    self.assertEqual(f.read(), b"")

    def test_405_names_the_methods(self):
        for method, path, allow in (("POST", "/get", "GET, HEAD"), ("DELETE", "/post", "POST"),
                                    ("PROPFIND", "/%67et?x", "GET, HEAD"),
                                    ("OPTIONS", "*", "GET, HEAD, POST"),
                                    ("OPTIONS", "/visits", "GET, HEAD")):
            reply = self.ask(f"{method} {path} HTTP/1.1\r\n{HOST}\r\n")
            self.is_error(reply, 405)
            self.assertEqual(reply.headers["allow"], allow)

    def test_nothing_behind_a_close_is_answered(self):
        for first in ("GET /get HTTP/1.1\r\n" + HOST + "Connection: x,close\t\r\n\r\n",
                      "GET /get HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n",
                      "GET /get HTTP/1.0\r\nProxy-Connection: keep-alive\r\n\r\n",
                      POST + JSON + "Connection: close\r\nContent-Length: 2\r\n\r\n{}"):
            with self.subTest(first=first), self.app.connect() as s, s.makefile("rb") as f:
                s.sendall((first + GET + "\r\n").encode())
                reply = Reply(f)
                self.assertEqual((reply.status, reply.closes), (200, True))
                self.assertEqual(f.read(), b"")

    def test_an_offer_to_upgrade_is_ignored(self):
        upgrade = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: \r\n"
        with self.app.connect() as s, s.makefile("rb") as f:
            s.sendall((GET + upgrade + "\r\n" + POST + JSON + upgrade +
                       "Content-Length: 2\r\n\r\n{}" + GET + "\r\n").encode())
            replies = [Reply(f) for _ in range(3)]
        self.assertEqual([(r.status, r.closes) for r in replies], [(200, False)] * 3)

    def test_targets(self):
        for target in ("http://h/get", "HTTP://[::1]:80/get?x", "/get?" + "q" * 8000, "/%67%65%74",
                       "/get?%00%zz{}|\\^", "http://" + "h" * 255 + "/get"):
            with self.subTest(target=target):
                self.assertEqual(self.ask(f"GET {target} HTTP/1.1\r\n{HOST}\r\n").status, 200)
        for target in ("/get/", "/get%00", "/get%2F", "//get", "http://h", "http://h?/get",
                       "/" + "x" * 8000):
            with self.subTest(target=target):
                self.is_error(self.ask(f"GET {target} HTTP/1.1\r\n{HOST}\r\n"), 404)

    def test_json(self):
        """What is taken, as it comes back, and what is not JSON, or has no one meaning."""
        for body, back in ((' [ ] \r\n', "[]"), ('"\\u0000"', '"\\u0000"'), ("[" * 128 + "]" * 128, None),
                           ('"\\ud83d\\ude00"', '"\U0001f600"'), ("9223372036854775807", None),
                           ("-9223372036854775808", None), ("1E5", "100000.0"), ('"/"', None),
                           ('{"__proto__":1}', None), ("null", None), ('"\x7f"', None)):
            with self.subTest(body=body):
                reply = self.ask(f"{POST}{JSON}Content-Length: {len(body)}\r\n\r\n{body}")
                self.assertEqual((reply.status, reply.body.decode()), (200, back or body))
        for body in (b"", b"\xef\xbb\xbf{}", b'"\\ud800"', b'"\\ude00\\ud83d"', b'{"\\u0000":1}', b"1e400",
                     b"9223372036854775808", b"[" * 129 + b"]" * 129, b'{"a":1,"\\u0061":2}', b"{}{}",
                     b"01", b"NaN", b"[1,]", b"'a'", b'"\t"', b'"\xff"', b'"\xc0\x80"', b"{} \0"):
            with self.subTest(body=body):
                text = f"{POST}{JSON}Content-Length: {len(body)}\r\n\r\n".encode() + body
                self.is_error(self.ask(text), 400)

    def test_what_comes_after_a_refusal_is_bounded(self):
        with self.app.connect() as s:
            s.sendall((POST + JSON + "Content-Length: 5000000000\r\n\r\n").encode())
            with self.assertRaises(ConnectionError):
                for _ in range(1024):
                    s.sendall(b"a" * 65536)

    def test_all_bodies_together_are_bounded(self):
        """64 MiB: each of these takes 128 KiB, as a buffer doubles."""
        room, more, whole = 512, 20, 100000
        app = self.start(env={"APP_TIMEOUT_MS": "60000"})
        clients = [app.connect() for _ in range(room + more)]
        begin = f"{POST}{JSON}Content-Length: {whole}\r\n\r\n\"".encode() + b"a" * 70000
        answered = select.poll()
        for s in clients:
            self.addCleanup(s.close)
            answered.register(s, select.POLLIN)
            s.sendall(begin)
        wait_for(lambda: len(answered.poll(0)) >= more, "the refusals")
        refused = {fd for fd, _ in answered.poll(0)}
        self.assertEqual(len(refused), more)
        for s in clients:
            with s.makefile("rb") as f:
                if s.fileno() not in refused:
                    s.sendall(b"a" * (whole - 70002) + b'"')
                self.assertEqual(Reply(f).status, 503 if s.fileno() in refused else 200)
        for s in clients:
            s.close()
        self.assertEqual(ask(app, begin + b"a" * (whole - 70002) + b'"').status, 200)

    def test_close_does_not_reset_the_answer_away(self):
        """The request that closes ends where one read of app ends; more is queued behind it."""
        size = 16384  # of one read
        requests = ((GET + "\r\n") * (size // len(GET + "\r\n") - 2)).encode()
        last = (GET + "Connection: close\r\nX: ").encode()
        last += b"a" * (size - len(requests) - len(last) - 4) + b"\r\n\r\n"
        count = requests.count(b"Host") + 1
        app = self.start()
        with app.connect() as s, s.makefile("rb") as f:
            app.halt()
            s.sendall(requests + last + (GET + "\r\n").encode() * 100)
            app.signal(signal.SIGCONT)
            replies = [Reply(f) for _ in range(count)]
            self.assertEqual({reply.status for reply in replies}, {200})
            self.assertTrue(replies[-1].closes)
            self.assertEqual(f.read(), b"")  # and no ECONNRESET


if __name__ == "__main__":
    unittest.main(verbosity=1)
