#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/clusterd/options.h"
#include "supervisor/os/scope.h"

static int fail(char *problem, const char *why)
{
	snprintf(problem, OPTIONS_PROBLEM_MAX, "%s", why);
	return -1;
}

/* Reads up to `size` bytes; fewer only at the end of the file. */
static ssize_t read_all(int fd, char *text, size_t size)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = read(fd, text + done, size - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

int read_policy_file(const char *path, char **ret_text, size_t *ret_size,
		     char problem[OPTIONS_PROBLEM_MAX])
{
	/* O_NONBLOCK: the open of a FIFO would wait for a writer. */
	scoped_fd fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat status;
	ssize_t size;
	char *text;

	if (fd < 0 || fstat(fd, &status) < 0)
		return fail(problem, strerror(errno));
	if (!S_ISREG(status.st_mode))
		return fail(problem, S_ISDIR(status.st_mode) ? "is a folder and no regular file" :
							       "is no regular file");
	if (status.st_size > POLICY_FILE_MAX)
		return fail(problem, "is larger than the 1 MiB a policy can have");
	text = malloc(POLICY_FILE_MAX + 1);
	if (!text)
		return fail(problem, strerror(ENOMEM));
	size = read_all(fd, text, POLICY_FILE_MAX + 1);
	if (size < 0 || size > POLICY_FILE_MAX) {
		fail(problem, size < 0 ? strerror(errno) : "is larger than the 1 MiB a policy can have");
		free(text);
		return -1;
	}
	*ret_text = text;
	*ret_size = (size_t)size;
	return 0;
}

void format_complaint(char *line, size_t size, const char *source, unsigned number, const char *text)
{
	if (number > 0)
		snprintf(line, size, "%s:%u: %s", source, number, text);
	else
		snprintf(line, size, "%s: %s", source, text);
}
