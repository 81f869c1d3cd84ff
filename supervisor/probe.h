/*
 * probe - asks one worker whether it is ready, or well, from outside.
 *
 * GLUE. Two kinds: a request to that very worker's socket (`http PATH`), and a
 * program that exits 0 (`command`). One struct for each worker that is asked; it
 * repeats by itself until probe_stop() or until a readiness has been told.
 *
 *   readiness   asked every READY_AGAIN_MS until the answer is yes
 *   health      asked every [health] interval; [health] failures times no in a row
 *               is EV_UNHEALTHY. A no does not count when clusterd itself was late,
 *               or when the worker wants to run and gets no CPU: it is starved, not hung.
 */
#ifndef CLUSTERD_SUPERVISOR_PROBE_H
#define CLUSTERD_SUPERVISOR_PROBE_H

#include "supervisor/internal.h"

/* Called when a worker was started, and when it got ready: begins what the policy asks for. */
void probe_started(struct worker *worker);
void probe_ready(struct worker *worker);

/* For an upgrade: how far the questions about its health have come, and probe_ready() that goes on there. A
 * question under way is asked anew at once. */
void probe_export(const struct worker *worker, struct probe_image *ret);
void probe_resume(struct worker *worker, const struct probe_image *image);

/* It is stopped because it was not ready in time: tells what was asked, and the last answer. */
void probe_too_late(const struct worker *worker);

/* Ends what is asked of the worker, its command included; nothing where it has no probe. */
void probe_stop(struct worker *worker);

/* The command that is being run about the worker: its pid, or -1. */
pid_t probe_command(const struct worker *worker);

/* Ends the commands that are being run; they are run anew in a moment. For an upgrade: its successor
 * knows nothing of them. */
void probes_interrupt(struct supervisor *s);

/* [health] http may have changed: asks those that are ready from now on, or no longer. */
void probe_policy(struct supervisor *s);

/* Can what the policy asks for be asked on the sockets that are open? If not, `problem` says why. */
bool probe_possible(struct supervisor *s, const struct policy *policy, char *problem, size_t size);

#endif
