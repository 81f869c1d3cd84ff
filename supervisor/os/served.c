#include "supervisor/os/served.h"

#include <stdio.h>
#include <stdlib.h>

#include "supervisor/os/proc.h"
#include "supervisor/os/sys.h"

enum {
	PATH_SIZE = 300,
	FIRST = 64,
	LISTENS = 0x0A,    /* TCP_LISTEN */
	NO_PEER = 0x07,    /* TCP_CLOSE: of UDP, bound and not connected */
	ACCEPTS = 0x10000, /* __SO_ACCEPTCON, linux/net.h */
};

struct reading {
	struct served served;
	unsigned state;
	int error;
};

/* True: no more lines are wanted. */
static bool add(struct reading *r, ino_t inode)
{
	size_t size = r->served.size ? 2 * r->served.size : FIRST;
	ino_t *list = r->served.list;

	if (r->served.count == r->served.size) {
		list = realloc(list, size * sizeof *list);
		if (!list) {
			r->error = -ENOMEM;
			return true;
		}
		r->served.list = list;
		r->served.size = size;
	}
	list[r->served.count++] = inode;
	return false;
}

static bool see_inet(void *context, const char *line)
{
	struct reading *r = context;
	unsigned long inode;
	unsigned state;

	if (sscanf(line, " %*u: %*[0-9A-F]:%*4X %*s %2X %*s %*s %*s %*u %*u %lu", &state, &inode) != 2)
		return false;
	if (state == r->state)
		return add(r, inode);
	return r->state == LISTENS; /* those come first (net/ipv4/tcp_ipv4.c, tcp_seq_start) */
}

static bool see_unix(void *context, const char *line)
{
	unsigned long inode;
	unsigned flags;

	if (sscanf(line, "%*x: %*x %*x %x %*x %*x %lu", &flags, &inode) != 2 || !(flags & ACCEPTS))
		return false;
	return add(context, inode);
}

int served_read(const char *root, struct served *ret)
{
	static const struct {
		const char *name;
		bool (*see)(void *context, const char *line);
		unsigned state;
	} files[] = {
		{ "tcp", see_inet, LISTENS }, { "tcp6", see_inet, LISTENS },
		{ "udp", see_inet, NO_PEER }, { "udp6", see_inet, NO_PEER },
		{ "unix", see_unix, 0 },
	};
	struct reading r = { .error = 0 };

	for (size_t i = 0; r.error == 0 && i < sizeof files / sizeof *files; i++) {
		char path[PATH_SIZE];
		int error;

		snprintf(path, sizeof path, "%.256s/net/%s", root, files[i].name);
		r.state = files[i].state;
		error = proc_lines(path, files[i].see, &r);
		if (error && error != -ENOENT)
			r.error = error;
	}
	if (r.error)
		served_finish(&r.served);
	*ret = r.served;
	return r.error;
}

bool served_has(const struct served *served, ino_t inode)
{
	for (size_t i = 0; i < served->count; i++)
		if (served->list[i] == inode)
			return true;
	return false;
}

void served_finish(struct served *served)
{
	free(served->list);
	*served = (struct served){ .list = NULL };
}
