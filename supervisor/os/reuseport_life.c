#include "supervisor/os/bpf_map.h"
#include "supervisor/os/reuseport_group.h"
#include "supervisor/os/scope.h"
#include "supervisor/os/sys.h"

static bool valid(const struct reuseport_params *p)
{
	return (p->address.ss_family == AF_INET || p->address.ss_family == AF_INET6) &&
	       p->length <= sizeof(p->address) &&
	       (p->type == SOCK_STREAM || p->type == SOCK_DGRAM) && p->capacity >= 1 &&
	       p->capacity <= REUSEPORT_SLOTS_MAX && p->probe_base + p->capacity <= 65536 &&
	       (p->steer || p->probe_base == 0);
}

static struct reuseport *allocate(const struct reuseport_params *params)
{
	size_t slots = params->capacity * sizeof(struct reuseport_slot);
	size_t scratch = params->capacity * sizeof(uint32_t);
	struct steer_layout layout = steer_layout(params->capacity);
	struct reuseport *group = calloc(1, sizeof(*group) + slots + 3 * scratch + layout.room * sizeof(uint32_t));

	if (group == NULL)
		return NULL;
	group->params = *params;
	group->layout = layout;
	group->control_fd = group->sockets_fd = group->program_fd = -1;
	for (uint32_t slot = 0; slot < params->capacity; slot++)
		group->slots[slot] = (struct reuseport_slot){ .fd = -1, .key = slot };
	group->actives = (uint32_t *)(void *)&group->slots[params->capacity];
	group->share = group->actives + params->capacity;
	group->slot_of = group->share + params->capacity;
	group->homes = group->slot_of + params->capacity;
	for (uint32_t entry = 0; entry < layout.room; entry++)
		group->homes[entry] = NO_SLOT;
	return group;
}

static int map_memory(struct reuseport *group, const char **failed)
{
	void *memory = sys_mmap(NULL, group->layout.size, PROT_READ | PROT_WRITE, MAP_SHARED,
				group->control_fd, 0);

	if (memory == MAP_FAILED) {
		*failed = "mmap";
		return -errno;
	}
	group->memory = memory;
	return 0;
}

static int load(struct reuseport *group, const char **failed)
{
	struct steer_params p = {
		.layout = group->layout,
		.datagram = group->params.type == SOCK_DGRAM,
		.probe_base = group->params.probe_base,
	};
	int error;

	group->control_fd = p.control_fd = bpf_control_create(group->layout.size, failed);
	if (p.control_fd < 0)
		return p.control_fd;
	group->sockets_fd = p.sockets_fd = bpf_sockets_create(group->params.capacity, failed);
	if (p.sockets_fd < 0)
		return p.sockets_fd;
	group->program_fd = bpf_steer_load(&p, failed);
	if (group->program_fd < 0)
		return group->program_fd;
	error = map_memory(group, failed);
	if (error != 0)
		return error;
	*control_of(group) = (struct steer_control){
		.magic = STEER_MAGIC,
		.version = STEER_VERSION,
		.capacity = group->params.capacity,
	};
	return 0;
}

/* Frees what is not an fd. */
static void forget(struct reuseport *group)
{
	if (group->memory != NULL)
		munmap(group->memory, group->layout.size);
	free(group);
}

void reuseport_destroy(struct reuseport *group)
{
	if (group == NULL)
		return;
	for (uint32_t slot = 0; slot < group->params.capacity; slot++)
		fd_close(&group->slots[slot].fd);
	fd_close(&group->control_fd);
	fd_close(&group->sockets_fd);
	fd_close(&group->program_fd);
	forget(group);
}

int reuseport_create(const struct reuseport_params *params, struct reuseport **ret_group,
		     const char **failed)
{
	struct reuseport *group;
	int error = 0;

	*failed = "parameters";
	if (!valid(params))
		return -EINVAL;
	*failed = "memory";
	group = allocate(params);
	if (group == NULL)
		return -ENOMEM;
	if (params->steer)
		error = load(group, failed);
	if (error != 0) {
		reuseport_destroy(group);
		return error;
	}
	*ret_group = group;
	return 0;
}

enum reuseport_support reuseport_probe_kernel(void)
{
	struct reuseport_params params = {
		.address.ss_family = AF_INET,
		.type = SOCK_STREAM,
		.capacity = 1,
		.steer = true,
	};
	struct reuseport *group = NULL;
	const char *failed;
	int error = reuseport_create(&params, &group, &failed);

	reuseport_destroy(group);
	if (error == 0)
		return REUSEPORT_OK;
	return error == -EPERM || error == -EACCES ? REUSEPORT_NO_RIGHT : REUSEPORT_TOO_OLD;
}

/* Across execve ------------------------------------------------------------------------------ */

struct reuseport_image reuseport_export(const struct reuseport *group)
{
	return (struct reuseport_image){
		.params = group->params,
		.control_fd = group->control_fd,
		.sockets_fd = group->sockets_fd,
		.program_fd = group->program_fd,
	};
}

/* Every slot that the list in force names was listed. */
static int read_memory(struct reuseport *group, const char **failed)
{
	const struct steer_control *control;
	const struct steer_list *list;
	int error = bpf_control_check(group->control_fd, group->layout.size, failed);

	if (error == 0)
		error = map_memory(group, failed);
	if (error != 0)
		return error;
	control = control_of(group);
	list = list_of(group, control->current & 1);
	*failed = "layout";
	if (control->magic != STEER_MAGIC || control->version != STEER_VERSION ||
	    control->capacity != group->params.capacity || list->count > group->layout.room)
		return -EPROTO;
	for (uint32_t i = 0; i < list->count; i++) {
		if (!has_socket(group, list->slot[i]))
			return -EPROTO;
		group->slots[list->slot[i]].listed = true;
	}
	return 0;
}

static int close_on_exec(int fd, const char **failed)
{
	*failed = "fcntl";
	return sys_fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ? -errno : 0;
}

static int take_sockets(struct reuseport *group, const int *sockets, uint32_t count,
			const char **failed)
{
	for (uint32_t slot = 0; slot < count; slot++) {
		int error = 0;

		if (sockets[slot] >= 0)
			error = close_on_exec(sockets[slot], failed);
		if (error != 0)
			return error;
		group->slots[slot].fd = sockets[slot];
		group->open += sockets[slot] >= 0;
	}
	return 0;
}

static int take_program(struct reuseport *group, const struct reuseport_image *image,
			const char **failed)
{
	int error = close_on_exec(image->control_fd, failed);

	if (error == 0)
		error = close_on_exec(image->sockets_fd, failed);
	if (error == 0)
		error = close_on_exec(image->program_fd, failed);
	group->control_fd = image->control_fd;
	group->sockets_fd = image->sockets_fd;
	group->program_fd = image->program_fd;
	return error == 0 ? read_memory(group, failed) : error;
}

int reuseport_adopt_fds(const struct reuseport_image *image, const int *sockets, uint32_t count,
			struct reuseport **ret_group, const char **failed)
{
	struct reuseport *group;
	int error;

	*failed = "parameters";
	if (!valid(&image->params) || count > image->params.capacity)
		return -EINVAL;
	*failed = "memory";
	group = allocate(&image->params);
	if (group == NULL)
		return -ENOMEM;
	error = take_sockets(group, sockets, count, failed);
	if (error == 0 && image->params.steer)
		error = take_program(group, image, failed);
	if (error != 0) {
		forget(group);
		return error;
	}
	*ret_group = group;
	return 0;
}
