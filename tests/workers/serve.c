#include "tests/workers/probe.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/workers/report.h"

enum { CLIENTS_MAX = 4096, REQUEST_MAX = 4096 };

struct client {
	int fd;
	size_t size;
	char text[REQUEST_MAX];
};

static struct client *clients[CLIENTS_MAX];
static int client_count;
static long answers;
static volatile sig_atomic_t told_to_end;

static void on_term(int signo)
{
	(void)signo;
	told_to_end = 1;
}

static const char *variable(const char *name)
{
	const char *value = getenv(name);

	return value ? value : "";
}

static void answer(int fd, const char *body, size_t size)
{
	dprintf(fd,
		"HTTP/1.1 200 OK\r\nX-Pid: %d\r\nX-Slot: %s\r\nX-Generation: %s\r\n"
		"Content-Length: %zu\r\n\r\n%.*s",
		(int)getpid(), variable("CLUSTERD_SLOT"), variable("CLUSTERD_GENERATION"), size,
		(int)size, body);
}

static void answer_report(int fd)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return;
	report_write(out, probe.argv, fd);
	fclose(out);
	answer(fd, text, size);
	free(text);
}

static void handle(int fd, const char *request)
{
	char path[REQUEST_MAX] = "/", pid[16];
	int size = snprintf(pid, sizeof pid, "%d\n", (int)getpid());

	if (probe.crash_after >= 0 && answers++ >= probe.crash_after)
		probe_word("signal=11");
	sscanf(request, "%*s %4095s", path);
	if (!strcmp(path, "/report"))
		answer_report(fd);
	else if (path[1] && probe_word(path + 1))
		answer(fd, "ok\n", 3);
	else
		answer(fd, pid, (size_t)size);
}

/* Handles each whole request that has come; false when the connection is over. */
static bool receive(struct client *client)
{
	ssize_t got =
	    read(client->fd, client->text + client->size, sizeof client->text - 1 - client->size);
	char *end;

	if (got <= 0)
		return false;
	client->size += (size_t)got;
	client->text[client->size] = '\0';
	while ((end = strstr(client->text, "\r\n\r\n"))) {
		end += 4;
		handle(client->fd, client->text);
		client->size -= (size_t)(end - client->text);
		memmove(client->text, end, client->size + 1);
	}
	return client->size < sizeof client->text - 1;
}

static void drop(int i)
{
	close(clients[i]->fd);
	free(clients[i]);
	clients[i] = clients[--client_count];
}

static void take(int listener)
{
	int fd = client_count < CLIENTS_MAX ? accept4(listener, NULL, NULL, SOCK_CLOEXEC) : -1;
	struct client *client = fd < 0 ? NULL : calloc(1, sizeof *client);

	if (!client) {
		if (fd >= 0)
			close(fd);
		return;
	}
	client->fd = fd;
	clients[client_count++] = client;
}

/* One round of poll(2). Dead listeners are left alone: their events would never end. */
static void turn(int wait_ms)
{
	static struct pollfd watch[LISTENERS_MAX + CLIENTS_MAX];
	int listeners = probe.listener_count, count = client_count;

	for (int i = 0; i < listeners; i++)
		watch[i] = (struct pollfd){ .fd = probe.first_fd + i, .events = POLLIN };
	for (int i = 0; i < count; i++)
		watch[listeners + i] = (struct pollfd){ .fd = clients[i]->fd, .events = POLLIN };
	if (poll(watch, (nfds_t)(listeners + count), wait_ms) <= 0)
		return;
	for (int i = count - 1; i >= 0; i--) {
		if (watch[listeners + i].revents && !receive(clients[i]))
			drop(i);
	}
	for (int i = 0; i < listeners; i++) {
		if (watch[i].revents & POLLIN)
			take(watch[i].fd);
		if (watch[i].revents & (POLLHUP | POLLERR | POLLNVAL))
			poll(NULL, 0, 1);
	}
}

static void serve_blocking(void)
{
	while (!told_to_end) {
		take(probe.first_fd);
		while (client_count > 0) {
			if (!receive(clients[0]))
				drop(0);
		}
	}
}

void serve(void)
{
	struct sigaction term = { .sa_handler = on_term }, before;
	long end = -1;

	sigaction(SIGTERM, NULL, &before);
	if (before.sa_handler != SIG_IGN)
		sigaction(SIGTERM, &term, NULL);
	signal(SIGPIPE, SIG_IGN);
	if (probe.blocking)
		serve_blocking();
	else
		probe_word("nonblock=1");
	while (end < 0 || probe_now_ms() < end) {
		/* a signal between the check and poll(2) costs one wait, not for ever */
		if (told_to_end && end < 0)
			end = probe_now_ms() + probe.drain_ms;
		turn(end < 0 ? 50 : (int)(end > probe_now_ms() ? end - probe_now_ms() : 0));
	}
	_exit((int)probe.term_exit);
}
