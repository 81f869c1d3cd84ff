/*
 * server - see server.c. Embedded in each worker; closed with it.
 */
#ifndef CLUSTERD_SUPERVISOR_SERVER_H
#define CLUSTERD_SUPERVISOR_SERVER_H

#include <stdint.h>
#include <sys/types.h>

#include "supervisor/hear.h"

struct worker;

/* What an upgrade carries over. */
struct server_image {
	int32_t pid, pidfd; /* -1: the first process of the worker is the server */
	int32_t asked;      /* the signal that the worker was asked to end by, or 0 */
	int32_t several;    /* more than one process has bound: the first has to pass signals on */
};

struct server {
	struct server_image image;
	struct ear end;
};

/* A process of the worker has got a socket of ours. Takes the pidfd over; -1 for the first process. */
void server_bound(struct worker *worker, pid_t pid, int pidfd);

/* After an upgrade. Returns 0 or -errno. */
int server_watch(struct worker *worker);
void server_forget(struct worker *worker);

/* To the one that serves: any signal, and one that asks it to end. 0 or -errno, as reap_signal(). */
int server_signal(const struct worker *worker, int signal);
void server_ask(struct worker *worker, int signal);

#endif
