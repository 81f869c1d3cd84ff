/*
 * folder - can a file be made at a path, as far as its folder tells, and who else could?
 *
 * FACILITY: stat(2), access(2). A path without a slash is in the working folder.
 */
#ifndef CLUSTERD_SUPERVISOR_OS_FOLDER_H
#define CLUSTERD_SUPERVISOR_OS_FOLDER_H

#include <stddef.h>

/*
 * Returns 0, or -errno: -ENOTDIR where it is none, -EACCES or -EROFS where this user can not read and
 * write it. *ret is its path, cut to `size`.
 */
int folder_check(const char *path, char *ret, size_t size);

/*
 * The same for a file that is only written: if it is there and no folder (-EISDIR) that is enough, else its
 * folder has to let this user make it. *ret is what does not.
 */
int folder_file_check(const char *path, char *ret, size_t size);

/*
 * Can nobody but this user and root put another file in the place of one in it? It belongs to one of the
 * two, and others may not write to it, or it is sticky. The same of a link to it (/var/run is one): in /tmp
 * anybody can make one. Returns 0 or -errno; *ret_why is in words what it is, for -EPERM what is wrong.
 */
int folder_trust(const char *folder, const char **ret_why);

#endif
