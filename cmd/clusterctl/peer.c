#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "cmd/clusterctl/ctl.h"

pid_t peer_pid(int fd)
{
	struct ucred peer;
	socklen_t size = sizeof peer;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 || peer.pid < 0)
		return 0;
	return peer.pid;
}

/* The letter of /proc/PID/stat, behind a name that may hold anything; '?' if it can not be read. */
static char state_of(pid_t pid)
{
	char path[64], text[512], *close;
	size_t size;
	FILE *file;

	snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
	file = pid > 0 ? fopen(path, "re") : NULL;
	if (!file)
		return '?';
	size = fread(text, 1, sizeof text - 1, file);
	fclose(file);
	text[size] = '\0';
	close = strrchr(text, ')');
	return close && close[1] == ' ' && close[2] ? close[2] : '?';
}

bool peer_tell_silence(int fd, const char *shown, bool is_look)
{
	long pid = (long)peer_pid(fd);
	char state = state_of((pid_t)pid);
	bool is_stopped = state == 'T' || state == 't';

	if (!is_look && !is_stopped)
		return false;
	if (pid == 0)
		ctl_say("%s: clusterd does not answer yet", shown);
	else if (is_stopped)
		ctl_say("%s: clusterd (pid %ld) is stopped by a signal; kill -CONT %ld lets it go on",
		        shown, pid, pid);
	else if (state == 'D')
		ctl_say("%s: clusterd (pid %ld) waits in the kernel, maybe for a disk; see "
		        "/proc/%ld/stack", shown, pid, pid);
	else
		ctl_say("%s: clusterd (pid %ld) does not answer yet", shown, pid);
	return true;
}
