/*
 * signals - names of signals as signal(7) lists them. Linux numbers; a real-time signal is
 * SIGRTMIN+n with SIGRTMIN = 34, as the C library leaves it to programs.
 */
#ifndef CLUSTERD_CONFIG_SIGNALS_H
#define CLUSTERD_CONFIG_SIGNALS_H

enum { SIGNAL_TEXT_MAX = 16 };

/* The number of "SIGTERM", "TERM", "SIGRTMIN+3", "SIGRTMAX-1" or "15"; -1 for anything else. */
int signal_number(const char *name);

/* Writes "SIGTERM", "SIGRTMIN+3", or the bare number where it has no name. Returns `text`. */
const char *signal_name(int number, char text[SIGNAL_TEXT_MAX]);

#endif
