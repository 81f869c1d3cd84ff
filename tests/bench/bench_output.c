/*
 * Captured output: lines of 100 bytes through a pipe, to /dev/null and to a file, in block mode.
 * Beside it, in the same run, a loop that only reads and writes: what the pipe itself allows.
 * CPU is that of the reading side, threads included.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "supervisor/os/clock.h"
#include "supervisor/output.h"

enum { TOTAL_MB = 1024, LINE = 100, CHUNK = 65536 };

static pid_t writer(int fd)
{
	static char text[LINE * 640];
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	memset(text, 'x', sizeof text);
	for (size_t i = LINE - 1; i < sizeof text; i += LINE)
		text[i] = '\n';
	for (size_t left = (size_t)TOTAL_MB << 20; left > 0;) {
		ssize_t n = write(fd, text, sizeof text < left ? sizeof text : left);

		if (n <= 0)
			_exit(1);
		left -= (size_t)n;
	}
	_exit(0);
}

static double cpu_s(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void plain(const char *path)
{
	static char text[CHUNK];
	int fds[2], out = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ssize_t n;

	if (pipe2(fds, O_CLOEXEC) < 0 || out < 0)
		exit(1);
	writer(fds[1]);
	close(fds[1]);
	while ((n = read(fds[0], text, sizeof text)) > 0)
		if (write(out, text, (size_t)n) != n)
			exit(1);
	close(fds[0]);
	close(out);
}

static void captured(const char *path)
{
	struct output_options options = { .slot = 3, .overflow = OVERFLOW_BLOCK, .tail = 4096 };
	struct output *output;
	const char *failed;
	struct log log;
	uv_loop_t loop;
	int fds[2];

	if (uv_loop_init(&loop) < 0 ||
	    log_open(&log, &loop, "web", LOG_FORMAT_TEXT, LOG_LEVEL_INFO, path) < 0)
		exit(1);
	options.log = &log;
	if (output_open(&options, &output, fds, &failed) < 0)
		exit(1);
	writer(fds[0]);
	close(fds[0]);
	close(fds[1]);
	uv_run(&loop, UV_RUN_DEFAULT); /* until both pipes have ended */
	output_close(output);
	log_close(&log);
	if (output_lost(&log) || log_lost(&log))
		printf("LOST %lu lines\n", output_lost(&log) + log_lost(&log));
	uv_loop_close(&loop);
}

static double measure(const char *what, const char *path, void (*run)(const char *))
{
	double cpu = cpu_s(), took;
	uint64_t begin = clock_us();

	run(path);
	took = (double)(clock_us() - begin) / 1e6;
	cpu = cpu_s() - cpu;
	while (wait(NULL) > 0)
		;
	printf("%-10s %-12s %8.0f MB/s %8.0f MB per CPU second\n", what,
	       strcmp(path, "/dev/null") == 0 ? path : "file", TOTAL_MB / took, TOTAL_MB / cpu);
	return TOTAL_MB / cpu;
}

/* bench_output [FOLDER]: where the file is made, by default /tmp. */
int main(int argc, char **argv)
{
	char path[256];
	const char *const paths[] = { "/dev/null", path };
	int fd;

	snprintf(path, sizeof path, "%s/bench_output.XXXXXX", argc > 1 ? argv[1] : "/tmp");
	fd = mkstemp(path);
	if (fd < 0)
		return 1;
	for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
		double limit = measure("read+write", paths[i], plain), ours;

		if (ftruncate(fd, 0) < 0)
			return 1;
		ours = measure("captured", paths[i], captured);

		printf("%-10s %-12s %8.2f of the limit\n", "ratio", "", ours / limit);
	}
	close(fd);
	unlink(path);
	return 0;
}
