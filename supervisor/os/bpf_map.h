/*
 * bpf_map - the few commands of bpf(2) that steering needs.
 *
 * Functions return an fd (close-on-exec, the caller's) or 0, or -errno; on error *failed names the
 * command: "bpf(BPF_MAP_CREATE)".
 */
#ifndef CLUSTERD_SUPERVISOR_OS_BPF_MAP_H
#define CLUSTERD_SUPERVISOR_OS_BPF_MAP_H

#include <stdint.h>

struct steer_params;

/* An array map of one value of `size` bytes that can be mapped into memory. */
int bpf_control_create(uint32_t size, const char **failed);

/* A map from slot to socket. */
int bpf_sockets_create(uint32_t capacity, const char **failed);

/* Puts a listening (bound, if datagram) SO_REUSEPORT socket in the map; takes it out. Taking out
 * what is not there is no error. */
int bpf_socket_put(int map_fd, uint32_t slot, int socket_fd, const char **failed);
int bpf_socket_delete(int map_fd, uint32_t slot, const char **failed);

/* Loads the program of steer_program(). */
int bpf_steer_load(const struct steer_params *params, const char **failed);

/* 0 when the map has one value of exactly `size` bytes, else -EPROTO. */
int bpf_control_check(int map_fd, uint32_t size, const char **failed);

#endif
