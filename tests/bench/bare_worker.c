/*
 * The smallest worker, statically linked so that its own start hides as little as possible of
 * what is measured: it answers each connection of fd 3 with its pid, or only waits.
 *
 *   bare_worker          one request, one answer, one connection
 *   bare_worker idle     sleep until a signal ends it
 *   bare_worker die      end at once, with success
 *
 * The last two write one byte to standard output first: who reads it counts the starts.
 */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LISTEN_FD = 3 };

static void answer(int fd)
{
	char request[1024], text[160];
	int size = snprintf(text, sizeof text,
	                    "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n"
	                    "X-Pid: %d\r\n\r\n",
	                    (int)getpid());

	if (recv(fd, request, sizeof request, 0) > 0)
		send(fd, text, (size_t)size, MSG_NOSIGNAL);
	close(fd);
}

int main(int argc, char **argv)
{
	int fd;

	if (argc > 1) {
		if (write(STDOUT_FILENO, ".", 1) != 1 || strcmp(argv[1], "die") == 0)
			return 0;
		for (;;)
			pause();
	}
	while ((fd = accept(LISTEN_FD, NULL, NULL)) >= 0)
		answer(fd);
	return 1;
}
