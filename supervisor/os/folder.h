/*
 * folder - can a file be made at a path, as far as its folder tells?
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
 * The same for a file that is only written: if it is there that is enough, else its folder has to let
 * this user make it. *ret is what does not.
 */
int folder_file_check(const char *path, char *ret, size_t size);

#endif
