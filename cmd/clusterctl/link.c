#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "cmd/clusterctl/ctl.h"
#include "supervisor/core/brief.h"
#include "supervisor/core/proto.h"
#include "supervisor/os/folder.h"

enum { LINE_MAX_BYTES = 1 << 20, FOLDER_MAX = 108, LINK_MORE = -3 /* not the last line */ };

volatile int ctl_interrupted;
bool ctl_ended;

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- which socket ---- */

int ctl_connect_path(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	/* It bounds the wait for a place in the queue of one that does not accept. */
	const struct timeval patience = { .tv_sec = CTL_SILENCE_MS / 1000 };
	int fd, error;

	if (strlen(path) >= sizeof sa.sun_path) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(sa.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
	if (connect(fd, (const struct sockaddr *)&sa, sizeof sa) == 0)
		return fd;
	error = errno;
	close(fd);
	errno = error;
	return -1;
}

bool ctl_folder(unsigned index, char *folder, size_t size)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	unsigned own = 0;

	if (proto_folder(index, geteuid(), runtime, folder, size))
		return true;
	while (proto_folder(own, geteuid(), runtime, folder, size))
		own++;
	/* After this user's own, those of root that [control] group opens to others. */
	return geteuid() != 0 && index == own && proto_folder(0, 0, NULL, folder, size);
}

/* What is in it, root may see. */
static bool is_closed(const char *folder)
{
	return access(folder, X_OK) < 0 && errno == EACCES;
}

/* clusterd takes no folder where somebody else could put a socket: what answers there is not one. */
static bool is_safe(const char *folder)
{
	const char *why;
	int rc = folder_trust(folder, &why);

	errno = -rc;
	return rc == 0;
}

void ctl_say_none(FILE *out, const char *before)
{
	char folder[FOLDER_MAX];

	fprintf(out, "%sno cluster is running (no socket in ", before);
	for (unsigned i = 0; ctl_folder(i, folder, sizeof folder); i++)
		fprintf(out, "%s%s%s%s", i ? ", " : "", folder, !is_safe(folder) && errno == EPERM ? ", which others may write to, so that nothing in it is trusted" : "",
		        is_closed(folder) ? ", which is closed to this user: try sudo" : "");
	fputs("; one that is elsewhere needs -s)\n", out);
}

/* The part of "web.sock" before the dot; false for another name. */
static bool socket_name(const char *file, char *name, size_t size)
{
	const char *dot = strrchr(file, '.');

	if (!dot || strcmp(dot, ".sock") != 0 || dot == file || (size_t)(dot - file) >= size)
		return false;
	memcpy(name, file, (size_t)(dot - file));
	name[dot - file] = '\0';
	return true;
}

static const char *file_part(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

void ctl_each(void (*each)(void *context, const char *path, const char *name), void *context)
{
	char folder[FOLDER_MAX], path[FOLDER_MAX + 256], name[64];

	for (unsigned i = 0; ctl_folder(i, folder, sizeof folder); i++) {
		DIR *dir = is_safe(folder) ? opendir(folder) : NULL;

		for (const struct dirent *entry; dir && (entry = readdir(dir)) != NULL;) {
			snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
			if (socket_name(entry->d_name, name, sizeof name))
				each(context, path, name);
		}
		if (dir)
			closedir(dir);
	}
}

struct search {
	unsigned count;
	int fd; /* of the first; -1 if it takes no connections */
	char name[64], path[FOLDER_MAX + 256];
	bool twice; /* two of one name, in two folders */
	char names[512], paths[1024];
};

static void try_one(void *context, const char *path, const char *name)
{
	struct search *search = context;
	int fd = ctl_connect_path(path);
	size_t used = strlen(search->names);

	if (fd < 0 && errno != EAGAIN)
		return;
	search->twice = search->twice || strcmp(search->name, name) == 0;
	snprintf(search->names + used, sizeof search->names - used, "%s%s", used ? ", " : "", name);
	used = strlen(search->paths);
	snprintf(search->paths + used, sizeof search->paths - used, "%s%s", used ? ", " : "", path);
	snprintf(search->name, sizeof search->name, "%s", name);
	snprintf(search->path, sizeof search->path, "%s", path);
	if (search->count++ == 0)
		search->fd = fd;
	else if (fd >= 0)
		close(fd);
}

static int refused(const char *shown, const char *path, bool quiet, int *ret_status)
{
	bool absent = errno == ENOENT || errno == ECONNREFUSED || errno == ENOTDIR;
	char root[FOLDER_MAX];

	*ret_status = absent ? CTL_NOT_RUNNING : CTL_CAN_NOT_TELL;
	if (quiet)
		return -1;
	if (errno == EAGAIN)
		ctl_say("%s: can not tell: clusterd takes no connections at %s; is it stopped, or busy?",
		        shown, path);
	else if (!absent)
		ctl_say("%s: can not tell (%s: %s)", shown, path, strerror(errno));
	else if (errno == ECONNREFUSED)
		ctl_say("%s: not running (nobody listens at %s)", shown, path);
	else
		ctl_say("%s: not running%s (no socket at %s)", shown,
		        proto_folder(0, 0, NULL, root, sizeof root) && is_closed(root) ? ", or root's: try sudo" : "", path);
	return -1;
}

/* The only cluster there is. */
static int connect_only(struct ctl *ctl, bool quiet, int *ret_status)
{
	struct search search = { .fd = -1 };

	ctl_each(try_one, &search);
	if (search.count == 1) {
		snprintf(ctl->shown, sizeof ctl->shown, "%s", search.name);
		errno = EAGAIN;
		return search.fd >= 0 ? search.fd : refused(ctl->shown, search.path, quiet, ret_status);
	}
	if (search.fd >= 0)
		close(search.fd);
	*ret_status = search.count ? CTL_USAGE : CTL_NOT_RUNNING;
	if (quiet)
		return -1;
	if (search.count) {
		ctl_say("clusterctl: several clusters run: %s; choose one with %s", search.twice ? search.paths : search.names,
		        search.twice ? "-s" : "-n");
		return -1;
	}
	ctl_say_none(stderr, "clusterctl: ");
	return -1;
}

static int connect_named(struct ctl *ctl, bool quiet, int *ret_status)
{
	char folder[FOLDER_MAX], path[FOLDER_MAX + 80], first[FOLDER_MAX + 80] = "";
	int error = ENOENT;

	snprintf(ctl->shown, sizeof ctl->shown, "%s", ctl->name);
	for (unsigned i = 0; ctl_folder(i, folder, sizeof folder); i++) {
		int fd, why;

		snprintf(path, sizeof path, "%s/%.64s.sock", folder, ctl->name);
		fd = is_safe(folder) ? ctl_connect_path(path) : -1;
		if (fd >= 0)
			return fd;
		why = errno;
		if (is_closed(folder) || (first[0] && error != ENOENT))
			continue;
		if (why != ENOENT || !first[0])
			snprintf(first, sizeof first, "%s", path);
		error = why;
	}
	errno = error;
	return refused(ctl->shown, first, quiet, ret_status);
}

/* connect(2) has one answer for a folder, a file and a socket without a listener. */
static bool is_no_socket(const char *path)
{
	struct stat status;

	if (stat(path, &status) < 0 || S_ISSOCK(status.st_mode))
		return false;
	ctl_say("clusterctl: --socket %s: that is %s, and no control socket", path,
	        S_ISDIR(status.st_mode) ? "a folder" : "a file");
	return true;
}

int ctl_connect(struct ctl *ctl, bool quiet, int *ret_status)
{
	int fd;

	if (!ctl->socket && !ctl->name)
		return connect_only(ctl, quiet, ret_status);
	if (!ctl->socket)
		return connect_named(ctl, quiet, ret_status);
	if (!socket_name(file_part(ctl->socket), ctl->shown, sizeof ctl->shown))
		snprintf(ctl->shown, sizeof ctl->shown, "clusterd");
	if (!quiet && is_no_socket(ctl->socket)) {
		*ret_status = CTL_USAGE;
		return -1;
	}
	fd = ctl_connect_path(ctl->socket);
	return fd >= 0 ? fd : refused(ctl->shown, ctl->socket, quiet, ret_status);
}

/* ---- ask and read ---- */

static void send_all(int fd, const char *text, size_t size)
{
	while (size > 0) {
		ssize_t n = send(fd, text, size, MSG_NOSIGNAL);

		if (n < 0 && errno != EINTR)
			return;
		if (n > 0) {
			text += n;
			size -= (size_t)n;
		}
	}
}

struct reader {
	const struct question *question;
	uint64_t end_ms; /* or UINT64_MAX */
	uint64_t tell_ms; /* then silence is told; UINT64_MAX: not any more */
	char *text;
	size_t size, used;
};

static void reader_tell(struct reader *reader, uint64_t now)
{
	const struct question *question = reader->question;

	if (now < reader->tell_ms)
		return;
	if (peer_tell_silence(question->fd, question->shown, question->is_look))
		reader->tell_ms = UINT64_MAX;
	else
		reader->tell_ms = now + CTL_SILENCE_MS;
}

/* Waits for more. Returns 0, or a result of ctl_ask. */
static int reader_wait(struct reader *reader)
{
	struct pollfd look = { .fd = reader->question->fd, .events = POLLIN };
	uint64_t now = now_ms(), left = reader->end_ms > now ? reader->end_ms - now : 0;
	int r;

	if (ctl_interrupted)
		return -1;
	/* Who has less patience than that is told, too. */
	reader_tell(reader, left > 0 ? now : UINT64_MAX - 1);
	if (left == 0)
		return CTL_TIMEOUT;
	r = poll(&look, 1, left > 1000 ? 1000 : (int)left);
	if (r > 0 && reader->tell_ms != UINT64_MAX)
		reader->tell_ms = now_ms() + CTL_SILENCE_MS;
	return r < 0 && errno != EINTR ? CTL_FAILED : 0;
}

static int reader_fill(struct reader *reader)
{
	ssize_t n;
	int r = reader_wait(reader);

	if (r)
		return r;
	if (reader->used == reader->size) {
		size_t size = reader->size ? reader->size * 2 : 65536;
		char *more = size > LINE_MAX_BYTES ? NULL : realloc(reader->text, size);

		if (!more)
			return CTL_FAILED;
		reader->text = more;
		reader->size = size;
	}
	n = recv(reader->question->fd, reader->text + reader->used, reader->size - reader->used, MSG_DONTWAIT);
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		return CTL_FAILED;
	reader->used += n > 0 ? (size_t)n : 0;
	return 0;
}

/* Calls back for one line. Returns 0 when it was the last, LINK_MORE, or a result of ctl_ask. */
static int take_line(const char *text, size_t size, bool raw, ctl_line *line, void *context,
                     json_t **ret_last)
{
	json_t *value = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
	bool again;
	int result;

	if (!json_is_object(value) || number_of(value, "v") != 1) {
		json_decref(value);
		return CTL_FAILED;
	}
	again = strcmp(text_of(value, "kind"), "reconnect") == 0;
	result = flag_of(value, "begun") ? LINK_RECONNECT : LINK_AGAIN;
	if (raw && !again)
		fwrite(text, 1, size, stdout);
	if (flag_of(value, "done")) {
		ctl_ended = ctl_ended || raw;
		*ret_last = value;
		return 0;
	}
	if (line && !again)
		line(context, value);
	json_decref(value);
	return again ? result : LINK_MORE;
}

static int read_answer(struct reader *reader, ctl_line *line, void *context,
                       json_t **ret_last)
{
	for (;;) {
		char *at = reader->text, *newline;
		int r;

		while (reader->used > 0 &&
		       (newline = memchr(at, '\n', reader->used - (size_t)(at - reader->text)))) {
			r = take_line(at, (size_t)(newline + 1 - at), reader->question->raw, line, context, ret_last);
			if (r != LINK_MORE)
				return r;
			at = newline + 1;
		}
		if (reader->used > 0) {
			reader->used -= (size_t)(at - reader->text);
			memmove(reader->text, at, reader->used);
		}
		fflush(stdout);
		r = reader_fill(reader);
		if (r)
			return r;
	}
}

int ctl_ask(const struct question *question, ctl_line *line, void *context, json_t **ret_last)
{
	uint64_t now = now_ms();
	struct reader reader = {
		.question = question,
		.end_ms = question->limit_ms ? now + question->limit_ms : UINT64_MAX,
		.tell_ms = question->shown ? now + CTL_SILENCE_MS : UINT64_MAX,
	};
	char text[REQUEST_LINE_MAX];
	int length = snprintf(text, sizeof text, "%s\n", question->request), r;

	if (length < 0 || (size_t)length >= sizeof text)
		return CTL_FAILED;
	/* Even a clusterd that takes no request may have said why. */
	send_all(question->fd, text, (size_t)length);
	r = read_answer(&reader, line, context, ret_last);
	free(reader.text);
	return r;
}

/* ---- verbs that only look ---- */

int ctl_verdict(const struct ctl *ctl, json_t *last)
{
	int code = (int)number_of(last, "code");

	if (flag_of(last, "ok"))
		return CTL_DONE;
	if (text_of(last, "error")[0])
		ctl_say("%s: %s", ctl->shown, text_of(last, "error"));
	return code == CTL_USAGE || code == CTL_TIMEOUT ? code : CTL_FAILED;
}

/* Who follows learns how the cluster has ended. */
static int answered(const struct ctl *ctl, json_t *last)
{
	int r = ctl_verdict(ctl, last);

	if (ctl->follow && json_object_get(last, "status"))
		ctl_say("%s: stopped, exit status %lld", ctl->shown, (long long)number_of(last, "status"));
	json_decref(last);
	return r;
}

int ctl_look(struct ctl *ctl, const char *request, ctl_line *line, void *context)
{
	struct question question = {
		.request = request,
		.limit_ms = ctl->timeout_ms ? ctl->timeout_ms : ctl->follow ? 0 : CTL_LOOK_MS,
		.raw = ctl->json,
		.is_look = !ctl->follow,
		.shown = ctl->shown,
	};
	char text[BRIEF_TEXT_MAX];
	json_t *last = NULL;
	int status, r;

	question.fd = ctl_connect(ctl, false, &status);
	if (question.fd < 0)
		return status;
	r = ctl_ask(&question, ctl->json && !ctl->collect ? NULL : line, context, &last);
	close(question.fd);
	if (r == 0)
		return answered(ctl, last);
	if (r == -1) /* an interrupted `events -f` has done what it should */
		return CTL_DONE;
	if (r == LINK_RECONNECT || r == LINK_AGAIN)
		return ctl_look(ctl, request, line, context);
	if (r != CTL_TIMEOUT) {
		ctl_say("%s: the connection ended before the answer did", ctl->shown);
		return r;
	}
	if (ctl->follow) /* what came until then was asked for */
		return CTL_TIMEOUT;
	ctl_say("%s: can not tell: no answer within %s", ctl->shown,
	        brief_duration(question.limit_ms, text));
	return CTL_CAN_NOT_TELL;
}
