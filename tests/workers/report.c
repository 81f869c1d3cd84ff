#include "tests/workers/report.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

extern char **environ;

enum { GROUPS_MAX = 64 };

static void put_text(FILE *out, const char *text, size_t size)
{
	fputc('"', out);
	for (size_t i = 0; i < size; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c == '"' || c == '\\')
			fprintf(out, "\\%c", c);
		else if (c < 0x20)
			fprintf(out, "\\u%04x", c);
		else
			fputc(c, out);
	}
	fputc('"', out);
}

static void put_string(FILE *out, const char *text)
{
	put_text(out, text, strlen(text));
}

static void put_numbers(FILE *out)
{
	const mode_t mask = umask(0);
	const struct {
		const char *name;
		long value;
	} rows[] = {
		{ "pid", getpid() },       { "ppid", getppid() },
		{ "pgid", getpgid(0) },    { "sid", getsid(0) },
		{ "uid", (long)getuid() }, { "euid", (long)geteuid() },
		{ "gid", (long)getgid() }, { "egid", (long)getegid() },
		{ "umask", (long)mask },   { "nice", getpriority(PRIO_PROCESS, 0) },
	};

	umask(mask);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		fprintf(out, "%s\"%s\":%ld", i ? "," : "", rows[i].name, rows[i].value);
}

static void put_lists(FILE *out, char **argv)
{
	gid_t groups[GROUPS_MAX];
	int count = getgroups(GROUPS_MAX, groups);
	const char *comma = "";
	cpu_set_t cpus;

	fprintf(out, ",\"groups\":[");
	for (int i = 0; i < count; i++)
		fprintf(out, "%s%u", i ? "," : "", groups[i]);
	fprintf(out, "],\"cpus\":[");
	CPU_ZERO(&cpus);
	sched_getaffinity(0, sizeof cpus, &cpus);
	for (size_t i = 0; i < CPU_SETSIZE; i++) {
		if (!CPU_ISSET(i, &cpus))
			continue;
		fprintf(out, "%s%zu", comma, i);
		comma = ",";
	}
	fprintf(out, "],\"argv\":[");
	for (int i = 0; argv[i]; i++) {
		if (i)
			fputc(',', out);
		put_string(out, argv[i]);
	}
	fputc(']', out);
}

static void put_env(FILE *out)
{
	fprintf(out, ",\"env\":{");
	for (char **e = environ; *e; e++) {
		size_t name = strcspn(*e, "=");

		if (e != environ)
			fputc(',', out);
		put_text(out, *e, name);
		fputc(':', out);
		put_string(out, *e + name + ((*e)[name] == '='));
	}
	fputc('}', out);
}

static void put_limits(FILE *out)
{
	static const struct {
		const char *name;
		int resource;
	} rows[] = {
		{ "nofile", RLIMIT_NOFILE },   { "core", RLIMIT_CORE },
		{ "memlock", RLIMIT_MEMLOCK }, { "as", RLIMIT_AS },
		{ "nproc", RLIMIT_NPROC },     { "stack", RLIMIT_STACK },
	};

	fprintf(out, ",\"limits\":{");
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct rlimit limit = { 0, 0 };

		getrlimit((__rlimit_resource_t)rows[i].resource, &limit);
		fprintf(out, "%s\"%s\":[%" PRId64 ",%" PRId64 "]", i ? "," : "", rows[i].name,
			(int64_t)limit.rlim_cur, (int64_t)limit.rlim_max);
	}
	fputc('}', out);
}

/* Lines of /proc/self/status that no call tells. */
static void put_status(FILE *out)
{
	static const char *const rows[][2] = {
		{ "SigBlk:", "sig_blocked" },
		{ "SigIgn:", "sig_ignored" },
		{ "CapEff:", "cap_eff" },
		{ "NoNewPrivs:", "no_new_privs" },
	};
	char line[256], oom[32] = "";
	FILE *status = fopen("/proc/self/status", "re");
	FILE *score = fopen("/proc/self/oom_score_adj", "re");

	while (status && fgets(line, sizeof line, status)) {
		for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
			size_t size = strlen(rows[i][0]);

			if (strncmp(line, rows[i][0], size) != 0)
				continue;
			fprintf(out, ",\"%s\":", rows[i][1]);
			put_text(out, line + size + 1, strcspn(line + size + 1, "\n"));
		}
	}
	if (score && fgets(oom, sizeof oom, score))
		fprintf(out, ",\"oom_score_adj\":%ld", strtol(oom, NULL, 10));
	if (status)
		fclose(status);
	if (score)
		fclose(score);
}

static const char *kind(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFCHR: return "chr";
	case S_IFREG: return "reg";
	case S_IFDIR: return "dir";
	case S_IFIFO: return "fifo";
	case S_IFSOCK: return "sock";
	default: return "other";
	}
}

static void put_fd(FILE *out, int fd)
{
	char path[64], target[PATH_MAX];
	struct stat info = { 0 };
	ssize_t size;

	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	size = readlink(path, target, sizeof target);
	fstat(fd, &info);
	fprintf(out, "{\"fd\":%d,\"kind\":\"%s\",\"nonblock\":%s,\"cloexec\":%s,\"target\":", fd,
		kind(info.st_mode), fcntl(fd, F_GETFL) & O_NONBLOCK ? "true" : "false",
		fcntl(fd, F_GETFD) & FD_CLOEXEC ? "true" : "false");
	put_text(out, target, size > 0 ? (size_t)size : 0);
	fputc('}', out);
}

static void put_fds(FILE *out, int hide)
{
	DIR *dir = opendir("/proc/self/fd");
	const char *comma = "";

	fprintf(out, ",\"fds\":[");
	for (const struct dirent *e; dir && (e = readdir(dir));) {
		int fd = (int)strtol(e->d_name, NULL, 10);

		if (e->d_name[0] == '.' || fd == dirfd(dir) || fd == hide)
			continue;
		fputs(comma, out);
		put_fd(out, fd);
		comma = ",";
	}
	if (dir)
		closedir(dir);
	fputc(']', out);
}

void report_write(FILE *out, char **argv, int hide)
{
	char cwd[PATH_MAX] = "";

	fputc('{', out);
	put_numbers(out);
	put_lists(out, argv);
	put_env(out);
	put_limits(out);
	put_status(out);
	fprintf(out, ",\"cwd\":");
	put_string(out, getcwd(cwd, sizeof cwd) ? cwd : "");
	put_fds(out, hide);
	fprintf(out, "}\n");
	fflush(out);
}
