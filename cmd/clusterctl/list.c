#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "cmd/clusterctl/table.h"
#include "supervisor/core/brief.h"

enum { L_NAME, L_STATE, L_READY, L_PID, L_UP, L_SOCKET, L_COUNT };

static const struct column columns[L_COUNT] = {
	[L_NAME] = { "NAME", false, 0 }, [L_STATE] = { "STATE", false, 0 },
	[L_READY] = { "READY", true, 0 }, [L_PID] = { "PID", true, 1 },
	[L_UP] = { "UP", true, 1 },      [L_SOCKET] = { "SOCKET", false, 2 },
};

struct list {
	struct ctl *ctl;
	struct table table;
};

static void put_row(struct list *list, const char *path, const json_t *cluster)
{
	const char *state = text_of(cluster, "state");
	bool answers = json_object_get(cluster, "up_ms") != NULL;
	char up[BRIEF_TEXT_MAX];
	struct table *table = &list->table;

	table_row(table);
	table_cell(table, L_NAME, HUE_NONE, "%s", text_of(cluster, "name"));
	table_cell(table, L_STATE, state_hue(state), "%s", state);
	if (answers)
		table_cell(table, L_READY, HUE_NONE, "%lld/%lld", (long long)number_of(cluster, "ready"),
		           (long long)number_of(cluster, "wanted"));
	else
		table_cell(table, L_READY, HUE_NONE, "-");
	table_cell(table, L_PID, HUE_NONE, "%lld", (long long)number_of(cluster, "pid"));
	table_cell(table, L_UP, HUE_NONE, "%s", answers ? duration_of(cluster, "up_ms", up) : "-");
	table_cell(table, L_SOCKET, HUE_DIM, "%s", path);
}

static void put_cluster(struct list *list, const char *path, json_t *cluster)
{
	if (!list->ctl->json) {
		put_row(list, path, cluster);
		return;
	}
	json_object_set_new(cluster, "socket", json_string(path));
	put_json(cluster);
}

/* A cluster that is there and does not answer is the one that is looked for. */
static json_t *silent(int fd, const char *name)
{
	return json_pack("{s:i, s:s, s:s, s:I, s:s}", "v", 1, "kind", "cluster", "name", name, "pid",
	                 (json_int_t)(fd < 0 ? 0 : peer_pid(fd)), "state", "silent");
}

/* A socket that nobody listens at is left from a cluster that was killed: not listed. */
static void look_at(void *context, const char *path, const char *name)
{
	struct question question = { .request = "status", .limit_ms = CTL_LOOK_MS / 10 };
	struct status status;
	json_t *last = NULL;

	question.fd = ctl_connect_path(path);
	if (question.fd < 0 && errno != EAGAIN)
		return;
	status_init(&status);
	if ((question.fd < 0 || ctl_ask(&question, status_line, &status, &last) == CTL_TIMEOUT) &&
	    !status.cluster)
		status.cluster = silent(question.fd, name);
	if (status.cluster)
		put_cluster(context, path, status.cluster);
	if (question.fd >= 0)
		close(question.fd);
	json_decref(last);
	status_free(&status);
}

int run_list(struct ctl *ctl)
{
	struct list list = { .ctl = ctl };

	table_init(&list.table, columns, L_COUNT);
	ctl_each(look_at, &list);
	if (list.table.rows > 0)
		table_print(&list.table, ctl->columns, ctl->paint, stdout);
	else if (!ctl->json)
		ctl_say_none(stdout, "");
	table_free(&list.table);
	return CTL_DONE;
}
