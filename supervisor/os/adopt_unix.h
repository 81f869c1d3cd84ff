/*
 * adopt_unix - a unix path that a program may unlink and bind as often as it likes.
 *
 * Many programs unlink the path before they bind it. So the socket of ours lives at a path of our
 * own, and the public path is a symbolic link to it: connect(2) follows the link, and a link that a
 * program removed is made again when its bind is adopted. Nothing is removed that is not our link.
 *
 * Functions return 0 or -errno; on error *failed names the step.
 */
#ifndef CLUSTERD_SUPERVISOR_OS_ADOPT_UNIX_H
#define CLUSTERD_SUPERVISOR_OS_ADOPT_UNIX_H

/*
 * Makes `path` a link to `real` (absolute, or as seen from the folder of `path`); both are
 * borrowed. A path that is this link already is left as it is; anything else there is -EEXIST. The
 * link appears at once and whole.
 */
int adopt_unix_publish(const char *real, const char *path, const char **failed);

/* Removes `path` if it is a link to `real`; 0 also when it is gone or something else. */
int adopt_unix_withdraw(const char *real, const char *path, const char **failed);

#endif
