#include "supervisor/os/holder.h"

#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "supervisor/os/proc.h"
#include "supervisor/os/scope.h"
#include "supervisor/os/sys.h"

enum {
	PATH_SIZE = 300,
	WORDS = 4,     /* of an IPv6 address */
	LISTENS = 0x0A, /* TCP_LISTEN */
	ACCEPTS = 0x10000, /* __SO_ACCEPTCON, linux/net.h */
};

/* ---- the socket ---- */

struct wanted {
	const struct address *address;
	bool tcp;
	ino_t found; /* 0: not yet */
};

/* An IPv4 address in an IPv6 socket is one all the same. */
static const char *unmapped(const char *digits)
{
	static const char prefix[] = "0000000000000000FFFF0000";

	return strncmp(digits, prefix, sizeof prefix - 1) == 0 ? digits + sizeof prefix - 1 : digits;
}

static bool all_zero(const char *digits)
{
	return digits[strspn(digits, "0")] == '\0';
}

/* As /proc prints it: each word of the address as a number of this machine. */
static void print_words(const struct address *address, char text[8 * WORDS + 1])
{
	const struct sockaddr_in *four = (const struct sockaddr_in *)&address->sa;
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)&address->sa;
	uint32_t words[WORDS];

	if (address->sa.ss_family == AF_INET) {
		snprintf(text, 8 * WORDS + 1, "%08" PRIX32, four->sin_addr.s_addr);
		return;
	}
	memcpy(words, &six->sin6_addr, sizeof words);
	snprintf(text, 8 * WORDS + 1, "%08" PRIX32 "%08" PRIX32 "%08" PRIX32 "%08" PRIX32, words[0],
		 words[1], words[2], words[3]);
}

/* True: this line is the one, or no later one can be. */
static bool see_inet(void *context, const char *line)
{
	struct wanted *wanted = context;
	char at[8 * WORDS + 1], mine[8 * WORDS + 1];
	unsigned port, state;
	unsigned long inode;

	if (sscanf(line, " %*u: %32[0-9A-F]:%4X %*s %2X %*s %*s %*s %*u %*u %lu", at, &port, &state,
		   &inode) != 4)
		return false;
	if (wanted->tcp && state != LISTENS)
		return true; /* those that listen come first (net/ipv4/tcp_ipv4.c, tcp_seq_start) */
	if (port != wanted->address->port || inode == 0)
		return false;
	print_words(wanted->address, mine);
	if (!all_zero(unmapped(at)) && !all_zero(mine) && strcmp(unmapped(at), unmapped(mine)) != 0)
		return false;
	wanted->found = inode;
	return true;
}

static bool see_unix(void *context, const char *line)
{
	struct wanted *wanted = context;
	const struct sockaddr_un *sun = (const struct sockaddr_un *)&wanted->address->sa;
	char path[sizeof sun->sun_path + 1] = "", name[sizeof sun->sun_path + 1] = "";
	unsigned flags;
	unsigned long inode;

	if (sscanf(line, "%*x: %*x %*x %x %*x %*x %lu %108s", &flags, &inode, path) != 3 || !(flags & ACCEPTS))
		return false;
	memcpy(name, sun->sun_path, sizeof sun->sun_path);
	if (name[0] == '\0')
		name[0] = '@';
	if (strcmp(path, name) != 0)
		return false;
	wanted->found = inode;
	return true;
}

int holder_inode(const char *root, const struct address *address, ino_t *ret)
{
	static const char *const files[][2] = {
		[ADDRESS_TCP] = { "tcp", "tcp6" },
		[ADDRESS_UDP] = { "udp", "udp6" },
		[ADDRESS_UNIX] = { "unix", NULL },
		[ADDRESS_INHERIT] = { NULL, NULL }, /* as NONE and OFF: nobody keeps us from it */
	};
	struct wanted wanted = { .address = address, .tcp = address->kind == ADDRESS_TCP };
	int error = 0;

	for (size_t i = 0; i < 2 && wanted.found == 0 && files[address->kind][i]; i++) {
		char path[PATH_SIZE];
		int failed;

		snprintf(path, sizeof path, "%.256s/net/%s", root, files[address->kind][i]);
		failed = proc_lines(path, address->kind == ADDRESS_UNIX ? see_unix : see_inet, &wanted);
		if (failed && failed != -ENOENT) /* no IPv6 here */
			error = failed;
	}
	*ret = wanted.found;
	return wanted.found ? 0 : error ? error : -ENOENT;
}

/* ---- its holder ---- */

struct search {
	const char *root;
	const ino_t *inodes;
	size_t count;
	size_t links; /* looked at so far */
	struct holder *found;
};

static bool leads_there(struct search *search, const char *path)
{
	ino_t inode;

	search->links++;
	if (proc_socket(path, &inode) <= 0)
		return false;
	for (size_t i = 0; i < search->count; i++)
		if (search->inodes[i] == inode) {
			search->found->which = i;
			return true;
		}
	return false;
}

/* 1: it has one of them. 0: not, or nobody says. */
static int has_one(struct search *search, pid_t pid)
{
	char path[PATH_SIZE + 32];
	const struct dirent *entry;
	int found = 0;
	DIR *dir;

	snprintf(path, sizeof path, "%.256s/%d/fd", search->root, (int)pid);
	dir = proc_folder(path);
	if (!dir)
		return 0;
	while (!found && search->links < HOLDER_LINKS_MAX && (entry = readdir(dir))) {
		snprintf(path, sizeof path, "%.256s/%d/fd/%.20s", search->root, (int)pid, entry->d_name);
		found = entry->d_name[0] != '.' && leads_there(search, path);
	}
	closedir(dir);
	return found;
}

static void read_name(const char *root, pid_t pid, char ret[HOLDER_NAME_MAX + 1])
{
	char path[PATH_SIZE];
	scoped_fd fd = -1;
	ssize_t size = 0;

	snprintf(path, sizeof path, "%.256s/%d/comm", root, (int)pid);
	fd = sys_open(path, O_RDONLY | O_CLOEXEC, 0);
	if (fd >= 0)
		size = sys_read(fd, ret, HOLDER_NAME_MAX);
	ret[size > 0 ? size : 0] = '\0';
	ret[strcspn(ret, "\n")] = '\0';
}

static bool may_be(const struct search *search, pid_t pid, uint64_t since)
{
	struct proc_info info;

	return proc_read(search->root, pid, &info) == 0 && info.started >= since && info.state != 'Z' &&
	       info.state != 'X';
}

int holder_find(const char *root, const ino_t *inodes, size_t count, uint64_t since, pid_t self,
		struct holder *ret)
{
	struct search search = { .root = root, .inodes = inodes, .count = count, .found = ret };
	const struct dirent *entry;
	size_t which = 0;
	int error = -ENOENT;
	DIR *dir = proc_folder(root);

	if (!dir)
		return -errno;
	ret->more_count = 0;
	while (ret->more_count < HOLDER_MORE_MAX && search.links < HOLDER_LINKS_MAX && (entry = readdir(dir))) {
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);

		if (pid < 1 || pid == self || !may_be(&search, pid, since) || !has_one(&search, pid))
			continue;
		if (error == 0) {
			ret->more[ret->more_count++] = pid;
			continue;
		}
		ret->pid = pid;
		read_name(root, pid, ret->name);
		which = ret->which;
		error = 0;
	}
	ret->which = which; /* that of the first */
	closedir(dir);
	return error;
}
