#include <limits.h>
#include <string.h>

#include "supervisor/os/scope.h"
#include "supervisor/os/spawn.h"
#include "supervisor/os/sys.h"

static const char default_path[] = "/usr/local/bin:/usr/bin:/bin";

enum { FIRST_LINE_MAX = 256 }; /* BINPRM_BUF_SIZE: what the kernel reads of a script */

/* A candidate that exists, is a regular file and may be executed by us. */
static int usable(const char *path)
{
	struct stat info;

	if (sys_stat(path, &info) < 0 || sys_access(path, X_OK) < 0)
		return -errno;
	return S_ISREG(info.st_mode) ? 0 : -EACCES;
}

/* The errors after which execvp(3) looks further. */
static bool is_absence(int error)
{
	return error == -ENOENT || error == -ENOTDIR || error == -ESTALE || error == -ENODEV ||
	       error == -ETIMEDOUT;
}

static int copy(const char *text, char *ret, size_t size)
{
	size_t length = strlen(text);

	if (length >= size)
		return -ENAMETOOLONG;
	memcpy(ret, text, length + 1);
	return 0;
}

int spawn_resolve(const char *program, const char *path, char *ret, size_t size)
{
	char candidate[PATH_MAX];
	int answer = -ENOENT;

	if (!*program)
		return -ENOENT;
	if (strchr(program, '/'))
		return copy(program, ret, size);

	for (const char *at = path ? path : default_path, *end; at; at = *end ? end + 1 : NULL) {
		int length = (int)strcspn(at, ":"), error;

		end = at + length;
		if (snprintf(candidate, sizeof candidate, "%.*s%s%s", length, at,
			     length ? "/" : "./", program) >= (int)sizeof candidate)
			continue;
		error = usable(candidate);
		if (error == 0)
			return copy(candidate, ret, size);
		if (error == -EACCES)
			answer = -EACCES;
		else if (!is_absence(error))
			return error;
	}
	return answer;
}

/* What a file begins with. */
enum format { FORMAT_UNKNOWN, FORMAT_ELF, FORMAT_SCRIPT };

struct head {
	enum format format;
	char interpreter[FIRST_LINE_MAX]; /* of FORMAT_SCRIPT; the kernel takes a CR as part of it */
	bool has_cr;
};

/* -errno if it can not be read, which does not keep a program from being run. */
static int read_head(const char *program, struct head *ret)
{
	char line[FIRST_LINE_MAX];
	scoped_fd fd = sys_open(program, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0);
	ssize_t size = fd < 0 ? -1 : sys_read(fd, line, sizeof line - 1);
	const char *name = line + 2;
	size_t length;

	*ret = (struct head){ .format = FORMAT_UNKNOWN };
	if (size < 0)
		return -errno;
	line[size] = '\0';
	if (size > 3 && memcmp(line, "\177ELF", 4) == 0)
		ret->format = FORMAT_ELF;
	if (size < 2 || line[0] != '#' || line[1] != '!')
		return 0;
	name += strspn(name, " \t");
	length = strcspn(name, " \t\r\n");
	memcpy(ret->interpreter, name, length);
	ret->has_cr = name[length] == '\r';
	ret->format = length > 0 ? FORMAT_SCRIPT : FORMAT_UNKNOWN;
	return 0;
}

int spawn_check(const char *program)
{
	int rc = usable(program);
	struct head head;

	if (rc < 0 || read_head(program, &head) < 0 || head.format == FORMAT_ELF)
		return rc;
	if (head.format == FORMAT_UNKNOWN)
		return -ENOEXEC;
	return head.has_cr ? -ENOENT : usable(head.interpreter);
}

static int explain_missing(const char *program, const struct stat *info, char *ret, size_t size)
{
	struct head head;

	if (S_ISREG(info->st_mode) && read_head(program, &head) == 0 && head.format == FORMAT_SCRIPT)
		return snprintf(ret, size, head.has_cr ?
				"its first line ends in CR LF, as on Windows, and %s with a CR is missing" :
				"the interpreter %s of its first line is missing", head.interpreter);
	return snprintf(ret, size, "the file is there, but the loader it asks for is missing");
}

static int explain_refused(const char *program, const struct stat *info, char *ret, size_t size)
{
	struct head head;

	if (S_ISDIR(info->st_mode))
		return snprintf(ret, size, "it is a directory");
	if (!S_ISREG(info->st_mode))
		return snprintf(ret, size, "it is not a regular file");
	if (!(info->st_mode & 0111))
		return snprintf(ret, size, "it is not executable (mode %04o)",
				info->st_mode & 07777U);
	if (read_head(program, &head) == 0 && head.format == FORMAT_SCRIPT &&
	    usable(head.interpreter) < 0)
		return snprintf(ret, size, "the interpreter %s of its first line is not executable",
				head.interpreter);
	return snprintf(ret, size,
			"not allowed for this user, or its file system is mounted noexec");
}

static int explain_file(const char *program, int error, char *ret, size_t size)
{
	struct stat info;

	if (sys_stat(program, &info) < 0)
		return snprintf(ret, size, "%s", strerror(errno));
	if (error == ENOENT)
		return explain_missing(program, &info, ret, size);
	if (error == EACCES)
		return explain_refused(program, &info, ret, size);
	if (info.st_size == 0)
		return snprintf(ret, size, "the file is empty");
	return snprintf(ret, size, "neither a program of this machine nor a script with a #! line");
}

int spawn_explain(const char *program, int error, char *ret, size_t size)
{
	int length;

	switch (error < 0 ? -error : error) {
	case ENOENT:
	case EACCES:
	case ENOEXEC: length = explain_file(program, error < 0 ? -error : error, ret, size); break;
	case E2BIG:
		length = snprintf(ret, size,
				  "arguments and environment are larger than the kernel takes");
		break;
	case ETXTBSY: length = snprintf(ret, size, "the file is being written"); break;
	default: length = snprintf(ret, size, "%s", strerror(error < 0 ? -error : error));
	}
	return length < (int)size ? length : (int)size - 1;
}
