#include "supervisor/os/bpf_map.h"

#include <linux/bpf.h>
#include <string.h>

#include "supervisor/os/steer_program.h"
#include "supervisor/os/sys.h"

static uint64_t address_of(const void *p)
{
	return (uint64_t)(uintptr_t)p;
}

static int map_create(uint32_t type, uint32_t value_size, uint32_t entries, uint32_t flags,
		      const char **failed)
{
	union bpf_attr a;
	int fd;

	memset(&a, 0, sizeof(a));
	a.map_type = type;
	a.key_size = sizeof(uint32_t);
	a.value_size = value_size;
	a.max_entries = entries;
	a.map_flags = flags;
	fd = sys_bpf(BPF_MAP_CREATE, &a, sizeof(a));
	if (fd >= 0)
		return fd;
	*failed = "bpf(BPF_MAP_CREATE)";
	return -errno;
}

int bpf_control_create(uint32_t size, const char **failed)
{
	return map_create(BPF_MAP_TYPE_ARRAY, size, 1, BPF_F_MMAPABLE, failed);
}

int bpf_sockets_create(uint32_t capacity, const char **failed)
{
	return map_create(BPF_MAP_TYPE_REUSEPORT_SOCKARRAY, sizeof(uint64_t), capacity, 0, failed);
}

int bpf_socket_put(int map_fd, uint32_t slot, int socket_fd, const char **failed)
{
	uint64_t value = (uint64_t)socket_fd;
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.map_fd = (uint32_t)map_fd;
	a.key = address_of(&slot);
	a.value = address_of(&value);
	a.flags = BPF_ANY;
	if (sys_bpf(BPF_MAP_UPDATE_ELEM, &a, sizeof(a)) == 0)
		return 0;
	*failed = "bpf(BPF_MAP_UPDATE_ELEM)";
	return -errno;
}

int bpf_socket_delete(int map_fd, uint32_t slot, const char **failed)
{
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.map_fd = (uint32_t)map_fd;
	a.key = address_of(&slot);
	if (sys_bpf(BPF_MAP_DELETE_ELEM, &a, sizeof(a)) == 0 || errno == ENOENT)
		return 0;
	*failed = "bpf(BPF_MAP_DELETE_ELEM)";
	return -errno;
}

int bpf_steer_load(const struct steer_params *params, const char **failed)
{
	struct bpf_insn program[STEER_PROGRAM_MAX];
	union bpf_attr a;
	int fd;

	memset(&a, 0, sizeof(a));
	a.prog_type = BPF_PROG_TYPE_SK_REUSEPORT;
	a.expected_attach_type = BPF_SK_REUSEPORT_SELECT_OR_MIGRATE;
	a.insn_cnt = (uint32_t)steer_program(params, program);
	a.insns = address_of(program);
	a.license = address_of("MIT");
	memcpy(a.prog_name, "clusterd_steer", sizeof("clusterd_steer"));
	fd = sys_bpf(BPF_PROG_LOAD, &a, sizeof(a));
	if (fd >= 0)
		return fd;
	*failed = "bpf(BPF_PROG_LOAD)";
	return -errno;
}

int bpf_control_check(int map_fd, uint32_t size, const char **failed)
{
	struct bpf_map_info info;
	union bpf_attr a;

	memset(&info, 0, sizeof(info));
	memset(&a, 0, sizeof(a));
	a.info.bpf_fd = (uint32_t)map_fd;
	a.info.info_len = sizeof(info);
	a.info.info = address_of(&info);
	*failed = "bpf(BPF_OBJ_GET_INFO_BY_FD)";
	if (sys_bpf(BPF_OBJ_GET_INFO_BY_FD, &a, sizeof(a)) < 0)
		return -errno;
	if (info.type != BPF_MAP_TYPE_ARRAY || info.max_entries != 1 || info.value_size != size ||
	    (info.map_flags & BPF_F_MMAPABLE) == 0)
		return -EPROTO;
	return 0;
}
