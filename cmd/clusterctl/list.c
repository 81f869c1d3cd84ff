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
	char up[BRIEF_TEXT_MAX];
	struct table *table = &list->table;

	table_row(table);
	table_cell(table, L_NAME, HUE_NONE, "%s", text_of(cluster, "name"));
	table_cell(table, L_STATE, state_hue(state), "%s", state);
	table_cell(table, L_READY, HUE_NONE, "%lld/%lld", (long long)number_of(cluster, "ready"),
	           (long long)number_of(cluster, "wanted"));
	table_cell(table, L_PID, HUE_NONE, "%lld", (long long)number_of(cluster, "pid"));
	table_cell(table, L_UP, HUE_NONE, "%s", duration_of(cluster, "up_ms", up));
	table_cell(table, L_SOCKET, HUE_DIM, "%s", path);
}

/* A socket that nobody answers at is left from a cluster that was killed: not listed. */
static void look_at(void *context, const char *path, const char *name)
{
	struct list *list = context;
	struct status status;
	json_t *last = NULL;
	int fd = ctl_connect_path(path);

	(void)name;
	if (fd < 0)
		return;
	status_init(&status);
	if (ctl_ask(fd, "status", CTL_LOOK_MS / 10, false, status_line, &status, &last) == 0 &&
	    status.cluster) {
		if (list->ctl->json) {
			json_object_set_new(status.cluster, "socket", json_string(path));
			json_dumpf(status.cluster, stdout, JSON_COMPACT);
			putchar('\n');
		} else {
			put_row(list, path, status.cluster);
		}
	}
	close(fd);
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
		puts("no cluster is running");
	table_free(&list.table);
	return CTL_DONE;
}
