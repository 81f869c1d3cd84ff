/*
 * owner - the number of a user or a group that a policy names.
 *
 * A name counts first, then a number, as for chown(1). Not 2^32 - 1, which stands for
 * "as it is" in setresgid(2) and chown(2).
 */
#ifndef CLUSTERD_SUPERVISOR_OWNER_H
#define CLUSTERD_SUPERVISOR_OWNER_H

#include <sys/types.h>

/* Both return 0, or -ENOENT and leave *ret alone. */
int owner_user(const char *name, uid_t *ret);
int owner_group(const char *name, gid_t *ret);

#endif
