/*
 * holder: who has an address, in a made-up /proc and in the real one (catalogue rows K7 and K8).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "supervisor/os/holder.h"
#include "supervisor/os/proc.h"
#include "tests/unit/suite.h"

#define HEAD "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
#define REST "00000000:00000000 00:00000000 00000000     0        0 %d 1 0000000000000000 100 0 0 10 0\n"

static char folder[64];

static void make_folder(void)
{
	strcpy(folder, "/tmp/clusterd-holder-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
}

static void remove_folder(void)
{
	char command[128];

	snprintf(command, sizeof command, "rm -rf %s", folder);
	ck_assert_int_eq(system(command), 0);
}

static void put(const char *name, const char *text)
{
	char path[256];
	FILE *file;

	snprintf(path, sizeof path, "%s/%s", folder, name);
	for (char *slash = path + strlen(folder); (slash = strchr(slash + 1, '/'));) {
		*slash = '\0';
		mkdir(path, 0755);
		*slash = '/';
	}
	file = fopen(path, "w");
	ck_assert_ptr_nonnull(file);
	fputs(text, file);
	fclose(file);
}

static void put_link(const char *name, const char *target)
{
	char path[256];

	put(name, "");
	snprintf(path, sizeof path, "%s/%s", folder, name);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(symlink(target, path), 0);
}

static void put_process(int pid, char state, int started, const char *name)
{
	char file[64], text[256];

	snprintf(file, sizeof file, "%d/stat", pid);
	snprintf(text, sizeof text, "%d (x) %c 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 %d 4096 10 0\n", pid,
		 state, started);
	put(file, text);
	snprintf(file, sizeof file, "%d/comm", pid);
	snprintf(text, sizeof text, "%s\n", name);
	put(file, text);
}

/* Of 127.0.0.1:80, [::1]:80, *:80, udp:127.0.0.1:53, unix:/path and unix:@name. */
static struct address parsed(const char *text)
{
	struct address address = { .kind = ADDRESS_TCP };
	struct sockaddr_in *four = (struct sockaddr_in *)&address.sa;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)&address.sa;
	struct sockaddr_un *sun = (struct sockaddr_un *)&address.sa;
	char host[64] = "";

	if (strncmp(text, "unix:", 5) == 0) {
		address.kind = ADDRESS_UNIX;
		sun->sun_family = AF_UNIX;
		memcpy(sun->sun_path, text + 5, strlen(text + 5));
		if (text[5] == '@')
			sun->sun_path[0] = '\0';
		return address;
	}
	if (strncmp(text, "udp:", 4) == 0) {
		address.kind = ADDRESS_UDP;
		text += 4;
	}
	address.port = (uint16_t)atoi(strrchr(text, ':') + 1);
	memcpy(host, text, (size_t)(strrchr(text, ':') - text));
	address.any = host[0] == '*';
	if (address.any || host[0] == '[') {
		six->sin6_family = AF_INET6;
		host[strcspn(host, "]")] = '\0';
		ck_assert(address.any || inet_pton(AF_INET6, host + 1, &six->sin6_addr) == 1);
	} else {
		four->sin_family = AF_INET;
		ck_assert_int_eq(inet_pton(AF_INET, host, &four->sin_addr), 1);
	}
	return address;
}

static const struct row {
	const char *address;
	int inode; /* 0: nobody */
} rows[] = {
	{ "127.0.0.1:80", 101 },     { "127.0.0.2:80", 102 },  { "10.0.0.1:80", 0 },
	{ "*:80", 101 },             { "127.0.0.1:81", 103 },  { "[::1]:82", 201 },
	{ "[::2]:82", 0 },           { "10.0.0.1:83", 202 },   { "*:83", 202 },
	{ "127.0.0.1:90", 0 },       { "udp:127.0.0.1:53", 301 }, { "127.0.0.1:53", 0 },
	{ "unix:/run/a.sock", 401 }, { "unix:/run/b.sock", 0 }, { "unix:@name", 403 },
	{ "unix:/run/c.sock", 0 },
};

static void put_sockets(void)
{
	char text[4096];

	snprintf(text, sizeof text,
		 HEAD "   0: 0100007F:0050 00000000:0000 0A " REST "   1: 0200007F:0050 00000000:0000 0A " REST
		      "   2: 00000000:0051 00000000:0000 0A " REST "   3: 0100007F:005A 0100007F:9999 01 " REST
		      "   4: 0100007F:005A 00000000:0000 0A " REST,
		 101, 102, 103, 104, 105);
	put("net/tcp", text);
	snprintf(text, sizeof text,
		 HEAD "   0: 00000000000000000000000001000000:0052 00000000000000000000000000000000:0000 0A " REST
		      "   1: 00000000000000000000000000000000:0053 00000000000000000000000000000000:0000 0A " REST,
		 201, 202);
	put("net/tcp6", text);
	snprintf(text, sizeof text, HEAD "  10: 0100007F:0035 00000000:0000 07 " REST, 301);
	put("net/udp", text);
	put("net/unix", "Num       RefCount Protocol Flags    Type St Inode Path\n"
			"0000000000000000: 00000002 00000000 00000000 0002 01 400 /run/a.sock\n"
			"0000000000000000: 00000002 00000000 00010000 0001 01 401 /run/a.sock\n"
			"0000000000000000: 00000002 00000000 00010000 0001 01 402\n"
			"0000000000000000: 00000002 00000000 00010000 0001 01 403 @name\n");
}

START_TEST(the_socket_at_an_address)
{
	struct address address = parsed(rows[_i].address);
	ino_t inode = 0;

	put_sockets();
	ck_assert_int_eq(holder_inode(folder, &address, &inode), rows[_i].inode ? 0 : -ENOENT);
	ck_assert_uint_eq(inode, (ino_t)rows[_i].inode);
}
END_TEST

/* Each line is read whole, wherever a read of the file ends. */
START_TEST(a_long_table)
{
	struct address address = parsed("127.0.0.1:80");
	char *text = malloc(400000);
	size_t used = (size_t)sprintf(text, HEAD);
	ino_t inode;

	for (int i = 0; i < 2000; i++)
		used += (size_t)sprintf(text + used, "%4d: 0100007F:%04X 00000000:0000 0A " REST, i, 1000 + i, i + 1);
	sprintf(text + used, "2000: 0100007F:0050 00000000:0000 0A " REST, 7777);
	put("net/tcp", text);
	free(text);
	ck_assert_int_eq(holder_inode(folder, &address, &inode), 0);
	ck_assert_uint_eq(inode, 7777);
}
END_TEST

START_TEST(the_process_that_has_it)
{
	const ino_t wanted[] = { 5, 77 };
	struct holder holder = { .pid = 0 };

	put_process(10, 'S', 100, "early");
	put_link("10/fd/3", "socket:[77]");
	put_process(11, 'Z', 500, "dead");
	put_link("11/fd/3", "socket:[77]");
	put_process(12, 'S', 500, "other");
	put_link("12/fd/3", "socket:[777]");
	put_link("12/fd/4", "/tmp/socket:[77]");
	put_process(13, 'S', 500, "one");
	put_link("13/fd/9", "socket:[77]");
	ck_assert_int_eq(holder_find(folder, wanted, 2, 200, 0, &holder), 0);
	ck_assert_int_eq(holder.pid, 13);
	ck_assert_str_eq(holder.name, "one");
	ck_assert_uint_eq(holder.which, 1);
	ck_assert_int_eq(holder_find(folder, wanted, 2, 200, 13, &holder), -ENOENT);
	ck_assert_int_eq(holder_find(folder, wanted, 1, 0, 0, &holder), -ENOENT);
	ck_assert_int_eq(holder_find(folder, wanted, 2, 0, 13, &holder), 0);
	ck_assert_int_eq(holder.pid, 10);
	ck_assert_int_eq(holder_find("/nonexistent", wanted, 2, 0, 0, &holder), -ENOENT);
}
END_TEST

START_TEST(ourselves)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof sa;
	struct address address = parsed("127.0.0.1:1");
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct holder holder;
	struct stat info;
	ino_t inode;

	ck_assert_int_eq(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
	ck_assert_int_eq(listen(fd, 1), 0);
	getsockname(fd, (struct sockaddr *)&sa, &size);
	memcpy(&address.sa, &sa, sizeof sa);
	address.port = ntohs(sa.sin_port);
	ck_assert_int_eq(holder_inode("/proc", &address, &inode), 0);
	ck_assert_int_eq(fstat(fd, &info), 0);
	ck_assert_uint_eq(inode, info.st_ino);
	ck_assert_int_eq(holder_find("/proc", &inode, 1, 0, 0, &holder), 0);
	/* With CK_FORK=yes the parent does not have it. */
	ck_assert_int_eq(holder.pid, getpid());
	close(fd);
	ck_assert_int_eq(holder_inode("/proc", &address, &inode), -ENOENT);
}
END_TEST

static void add_tests(TCase *tests)
{
	tcase_add_checked_fixture(tests, make_folder, remove_folder);
	tcase_add_loop_test(tests, the_socket_at_an_address, 0, (int)(sizeof rows / sizeof *rows));
	tcase_add_test(tests, a_long_table);
	tcase_add_test(tests, the_process_that_has_it);
	tcase_add_test(tests, ourselves);
}

int main(void)
{
	return run_suite("os/holder", add_tests);
}
