/*
 * notify - tells the process that started us what state we are in.
 *
 * The protocol of sd_notify(3): datagrams of KEY=value lines to NOTIFY_SOCKET,
 * an AF_UNIX path or, with a leading '@', an abstract name. Silent when the
 * variable is not set. Variables are removed from the environment when read.
 */
#ifndef APP_NOTIFY_H
#define APP_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

/* Opens the socket. Returns 0 (also without NOTIFY_SOCKET) or a negative errno. */
int notify_open(void);

/* Sends one state such as "READY=1"; waits at most a second when `must_arrive`. */
void notify_send(const char *state, bool must_arrive);

/* How often "WATCHDOG=1" is due, half of WATCHDOG_USEC; 0 when nobody asked this process. */
uint64_t notify_watchdog_ms(void);

#endif
