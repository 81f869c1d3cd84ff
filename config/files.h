/*
 * files - how many open files a policy takes of clusterd.
 */
#ifndef CLUSTERD_CONFIG_FILES_H
#define CLUSTERD_CONFIG_FILES_H

#include "config/policy.h"

/* Captured outputs, of two pipes each, that processes left behind by ended workers may hold. */
enum { FILES_LEFT_MAX = 16 };

/* Never less than it takes with so many workers, a roll included, and a few more. */
uint64_t policy_files(const struct policy *policy, uint32_t workers);

#endif
