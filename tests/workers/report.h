/*
 * report - what a worker finds itself to be, as one line of JSON:
 *
 *	pid ppid pgid sid uid gid groups[] argv[] env{} cwd umask nice oom_score_adj cpus[]
 *	no_new_privs cap_eff sig_ignored sig_blocked (hexadecimal text, as in /proc/self/status)
 *	limits{NAME: [soft, hard]}   -1 = infinity
 *	fds[{fd, kind, target, nonblock, cloexec}]   kind: chr reg dir fifo sock other
 */
#ifndef CLUSTERD_TESTS_WORKERS_REPORT_H
#define CLUSTERD_TESTS_WORKERS_REPORT_H

#include <stdio.h>

/* `hide` is an fd that is not worth reporting (where the report goes), or -1. */
void report_write(FILE *out, char **argv, int hide);

#endif
