/*
 * features - what the kernel and the rights of this process offer, for --version.
 */
#ifndef CLUSTERD_CMD_FEATURES_H
#define CLUSTERD_CMD_FEATURES_H

#include <stdio.h>

/* One line: "kernel 6.1.0 +pidfd +clone3 -cgroup2: not mounted ...". Starts and changes nothing. */
void features_print(FILE *out);

#endif
