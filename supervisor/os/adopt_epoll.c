#include "supervisor/os/adopt_epoll.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "supervisor/os/adopt_peer.h"
#include "supervisor/os/proc.h"
#include "supervisor/os/scope.h"
#include "supervisor/os/sys.h"

enum {
	PATH_SIZE = 64,
	LINK_SIZE = 32,
	/* A program with more of them must not hold us up at each bind. */
	FDS_LOOKED_AT = 1024,
	LINES_LOOKED_AT = 16384,
	STACK_SIZE = 64 * 1024,
	SIGNAL_SET_SIZE = 8,
};

/* ---- look ---- */

struct search {
	struct adopt_request *request;
	int epoll_fd;
	unsigned lines;
};

/* "tfd: 5 events: 19 data: 5 pos:0 ino:61 sdev:8" */
static bool see(void *context, const char *line)
{
	struct search *search = context;
	struct adopt_request *request = search->request;
	unsigned long inode = 0;
	uint64_t data;
	uint32_t events;
	int fd;

	if (++search->lines >= LINES_LOOKED_AT)
		return true;
	if (sscanf(line, "tfd: %d events: %" SCNx32 " data: %" SCNx64 " pos:%*d ino:%lx", &fd, &events, &data,
		   &inode) < 4 ||
	    fd != request->fd || inode != request->inode)
		return false;
	request->epoll[request->epolls++] =
		(struct adopt_epoll){ .fd = search->epoll_fd, .events = events, .data = data };
	return true;
}

static bool is_epoll(const char *path)
{
	char text[LINK_SIZE];
	ssize_t size = sys_readlink(path, text, sizeof text - 1);

	text[size > 0 ? size : 0] = '\0';
	return strcmp(text, "anon_inode:[eventpoll]") == 0;
}

static void look_into(struct search *search, int fd)
{
	char path[PATH_SIZE];

	snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)search->request->tid, fd);
	if (!is_epoll(path))
		return;
	search->epoll_fd = fd;
	snprintf(path, sizeof path, "/proc/%d/fdinfo/%d", (int)search->request->tid, fd);
	(void)proc_lines(path, see, search);
}

void adopt_epoll_look(struct adopt_request *request)
{
	struct search search = { .request = request };
	char path[PATH_SIZE];
	DIR *dir;

	snprintf(path, sizeof path, "/proc/%d/fd", (int)request->tid);
	dir = proc_folder(path);
	if (!dir)
		return;
	request->epolls = 0;
	for (int i = 0; i < FDS_LOOKED_AT && search.lines < LINES_LOOKED_AT && request->epolls < ADOPT_EPOLLS_MAX;
	     i++) {
		const struct dirent *entry = readdir(dir);

		if (!entry)
			break;
		if (entry->d_name[0] != '.')
			look_into(&search, (int)strtol(entry->d_name, NULL, 10));
	}
	closedir(dir);
}

/* ---- join ---- */

struct joining {
	const struct adopt_epoll *epoll;
	int epoll_fd, socket_fd; /* ours */
	int number;              /* the worker's, of the socket */
	bool done;
};

/*
 * A set tells sockets apart by their number too, and the worker will use its own to change or to remove it.
 * Here that may be something else's, so this runs in a process with a table of its own.
 */
static bool add(const struct joining *j)
{
	struct epoll_event event = { .events = j->epoll->events, .data.u64 = j->epoll->data };
	int epoll_fd = sys_fcntl(j->epoll_fd, F_DUPFD, j->number + 1);

	return epoll_fd >= 0 && (j->socket_fd == j->number || sys_dup3(j->socket_fd, j->number, 0) >= 0) &&
	       sys_epoll_ctl(epoll_fd, EPOLL_CTL_ADD, j->number, &event) == 0;
}

/* On a stack that AddressSanitizer does not know, as in spawn.c. */
__attribute__((no_sanitize("address"))) static int child_main(void *argument)
{
	struct joining *j = argument;

	j->done = add(j);
	return 0;
}

/* The parent sleeps until the child has ended, and no handler of ours may run in it. */
static void run_child(struct joining *j)
{
	static char stack[STACK_SIZE] __attribute__((aligned(16)));
	const unsigned long all = ~0UL;
	unsigned long before;
	siginfo_t info;
	int pid;

	if (sys_rt_sigprocmask(SIG_BLOCK, &all, &before, SIGNAL_SET_SIZE) < 0)
		return;
	pid = sys_clone(child_main, stack + sizeof stack, CLONE_VM | CLONE_VFORK, j, NULL);
	while (pid > 0 && sys_waitid(P_PID, pid, &info, (int)(WEXITED | __WALL), NULL) < 0 && errno == EINTR)
		;
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, SIGNAL_SET_SIZE);
}

bool adopt_epoll_join(const struct adopt_request *request, int socket_fd)
{
	bool all = true;

	for (unsigned i = 0; i < request->epolls; i++) {
		scoped_fd epoll_fd = adopt_peer_fd(request, request->epoll[i].fd);
		struct joining joining = {
			.epoll = &request->epoll[i],
			.epoll_fd = epoll_fd,
			.socket_fd = socket_fd,
			.number = request->fd,
		};

		if (epoll_fd >= 0)
			run_child(&joining);
		all = joining.done && all;
	}
	return all;
}
