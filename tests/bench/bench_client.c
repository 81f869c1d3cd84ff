/*
 * bench_client - counts what is lost: each request has a number, and none is ever sent again.
 *
 *	bench_client PORT KEEP_ALIVE ONE_SHOT SECONDS
 *
 * So many clients that keep their connection and so many with one connection for each request,
 * in a closed loop: POST /post?n=N with {"n":N}, answered by 200 and the same number. Whatever else
 * happens (refused, reset, closed before the answer, 5 s without one, wrong status or number) is one
 * request lost. SIGTERM ends it early. Prints one line of JSON.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	CLIENTS_MAX = 256,
	ANSWER_MAX = 4096,
	TIMEOUT_MS = 5000,
	SOURCES = 200,        /* of 127.0.0.0/8: local ports would run out on one */
	BUCKETS = 100000,     /* of latency, 10 us each */
	BUCKET_US = 10,
};

enum loss { REFUSED, RESET, CLOSED, TIMED_OUT, WRONG, LOSSES };

static const char *const loss_names[LOSSES] = { "refused", "reset", "closed", "timeout", "wrong" };

struct client {
	int fd;
	bool keep;
	uint64_t number, begin_us;
	bool waiting; /* for an answer */
	size_t used;
	char answer[ANSWER_MAX];
};

static struct client clients[CLIENTS_MAX];
static uint64_t sent, done, lost[LOSSES], lost_kept, latency[BUCKETS], slowest_us;
static uint16_t port;
static int poll_fd;
static volatile sig_atomic_t ending;

static void on_term(int signo)
{
	(void)signo;
	ending = 1;
}

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void hang_up(struct client *client)
{
	if (client->fd >= 0)
		close(client->fd);
	client->fd = -1;
}

static void lose(struct client *client, enum loss how)
{
	lost[how]++;
	lost_kept += client->keep;
	client->waiting = false;
	hang_up(client);
}

static enum loss loss_of(int error)
{
	return error == ECONNREFUSED ? REFUSED : RESET;
}

/* Blocks for the handshake only: on the loopback that is the kernel's own work. */
static int dial(struct client *client)
{
	static uint32_t turn;
	const int one = 1;
	struct sockaddr_in from = { .sin_family = AF_INET };
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = client };

	from.sin_addr.s_addr = htonl(0x7f000002 + turn++ % SOURCES);
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(client->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
	if (bind(client->fd, (const struct sockaddr *)&from, sizeof from) < 0 ||
	    connect(client->fd, (const struct sockaddr *)&to, sizeof to) < 0 ||
	    epoll_ctl(poll_fd, EPOLL_CTL_ADD, client->fd, &event) < 0)
		return -errno;
	return 0;
}

static void ask(struct client *client)
{
	char text[256], body[32];
	int size, rc;

	client->number = ++sent;
	client->begin_us = now_us();
	client->used = 0;
	client->waiting = true;
	rc = client->fd < 0 ? dial(client) : 0;
	if (rc < 0) {
		lose(client, loss_of(-rc));
		return;
	}
	size = snprintf(body, sizeof body, "{\"n\":%llu}", (unsigned long long)client->number);
	size = snprintf(text, sizeof text,
			"POST /post?n=%llu HTTP/1.1\r\nHost: bench\r\n%sContent-Type: application/json\r\n"
			"Content-Length: %d\r\n\r\n%s",
			(unsigned long long)client->number, client->keep ? "" : "Connection: close\r\n",
			size, body);
	if (send(client->fd, text, (size_t)size, MSG_NOSIGNAL) != size)
		lose(client, RESET);
}

static void count(const struct client *client)
{
	uint64_t took = now_us() - client->begin_us;

	if (took > slowest_us)
		slowest_us = took;
	took /= BUCKET_US;
	latency[took < BUCKETS ? took : BUCKETS - 1]++;
	done++;
}

static bool number_matches(const struct client *client, const char *body)
{
	const char *at = strstr(body, "\"n\":");

	return at && strtoull(at + 4 + strspn(at + 4, " "), NULL, 10) == client->number;
}

/* Is the answer whole? It is known by its Content-Length, in any case of letters. */
static const char *whole_body(const struct client *client)
{
	const char *end = strstr(client->answer, "\r\n\r\n");
	const char *length = end ? strcasestr(client->answer, "\r\ncontent-length:") : NULL;

	if (!length || length > end)
		return NULL;
	end += 4;
	if (client->used < (size_t)(end - client->answer) + strtoul(length + 17, NULL, 10))
		return NULL;
	return end;
}

static void judge(struct client *client, const char *body)
{
	if (strncmp(client->answer, "HTTP/1.1 200", 12) != 0 || !number_matches(client, body)) {
		lose(client, WRONG);
		return;
	}
	count(client);
	client->waiting = false;
	if (!client->keep || strcasestr(client->answer, "\r\nconnection: close"))
		hang_up(client);
}

static void receive(struct client *client)
{
	ssize_t n = recv(client->fd, client->answer + client->used, ANSWER_MAX - 1 - client->used,
			 MSG_DONTWAIT);
	const char *body;

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		lose(client, n < 0 ? loss_of(errno) : CLOSED);
	} else {
		client->used += (size_t)n;
		client->answer[client->used] = '\0';
		body = whole_body(client);
		if (!body && client->used < ANSWER_MAX - 1)
			return;
		if (body)
			judge(client, body);
		else
			lose(client, WRONG);
	}
	if (!ending)
		ask(client);
}

/* A client that could not even connect tries its next request a little later. */
static void look_after(size_t count_clients)
{
	uint64_t now = now_us();

	for (size_t i = 0; i < count_clients; i++) {
		if (clients[i].fd >= 0 && now - clients[i].begin_us > TIMEOUT_MS * 1000ull)
			lose(&clients[i], TIMED_OUT);
		if (clients[i].fd < 0 && !ending)
			ask(&clients[i]);
	}
}

static bool busy(size_t count_clients)
{
	for (size_t i = 0; i < count_clients; i++)
		if (clients[i].waiting)
			return true;
	return false;
}

static void run(size_t count_clients, uint64_t seconds)
{
	struct epoll_event events[CLIENTS_MAX];
	uint64_t end_us = now_us() + seconds * 1000000, look_us = 0;

	for (size_t i = 0; i < count_clients; i++)
		ask(&clients[i]);
	while (!ending || busy(count_clients)) {
		int n = epoll_wait(poll_fd, events, CLIENTS_MAX, 5);

		for (int i = 0; i < n; i++)
			receive(events[i].data.ptr);
		if (now_us() >= end_us)
			ending = 1;
		if (now_us() - look_us > 5000) {
			look_us = now_us();
			look_after(count_clients);
		}
	}
}

static double percentile_ms(double share)
{
	uint64_t left = (uint64_t)((double)done * share);

	for (size_t i = 0; i < BUCKETS; i++) {
		if (latency[i] > left)
			return (double)(i * BUCKET_US) / 1000;
		left -= latency[i];
	}
	return (double)slowest_us / 1000;
}

int main(int argc, char **argv)
{
	size_t keep, total;
	uint64_t all = 0;

	if (argc != 5) {
		fprintf(stderr, "bench_client PORT KEEP_ALIVE ONE_SHOT SECONDS\n");
		return 64;
	}
	port = (uint16_t)strtoul(argv[1], NULL, 10);
	keep = strtoul(argv[2], NULL, 10);
	total = keep + strtoul(argv[3], NULL, 10);
	if (total > CLIENTS_MAX || total < keep)
		return 64;
	poll_fd = epoll_create1(EPOLL_CLOEXEC);
	signal(SIGTERM, on_term);
	for (size_t i = 0; i < total; i++)
		clients[i] = (struct client){ .fd = -1, .keep = i < keep };
	run(total, strtoul(argv[4], NULL, 10));
	printf("{\"sent\":%llu", (unsigned long long)sent);
	for (size_t i = 0; i < LOSSES; i++) {
		printf(",\"%s\":%llu", loss_names[i], (unsigned long long)lost[i]);
		all += lost[i];
	}
	printf(",\"lost\":%llu,\"lost_kept\":%llu,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"max_ms\":%.1f}\n",
	       (unsigned long long)all, (unsigned long long)lost_kept, percentile_ms(0.5), percentile_ms(0.99),
	       (double)slowest_us / 1000);
	return 0;
}
