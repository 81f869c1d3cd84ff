/*
 * policy - everything a user can decide, as plain values.
 *
 * Pure data without pointers: a policy is copied by assignment and compared by
 * memcmp (policy_defaults and the parser zero all padding). One is about 35 KiB,
 * so it lives in static memory or on the heap, never on the stack.
 */
#ifndef CLUSTERD_CONFIG_POLICY_H
#define CLUSTERD_CONFIG_POLICY_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "config/address.h"

enum {
	NAME_TEXT_MAX = 64,
	PATH_TEXT_MAX = 256,
	WORDS_TEXT_MAX = 4096,
	WORDS_MAX = 512,
	LISTENERS_MAX = 16,
	RULES_MAX = 64,
	ENV_TEXT_MAX = 16384,
	ENV_MAX = 256,
	BURST_MAX = 64,           /* = max of [restart] burst */
	CLUSTER_BURST_MAX = 1024, /* = max of [restart] cluster_burst */
	WORKERS_MAX = 16384,      /* = max of [cluster] workers */
};

enum restart_when { RESTART_ALWAYS, RESTART_ON_FAILURE, RESTART_ON_ABNORMAL, RESTART_NEVER };
enum give_up { GIVE_UP_HOLD, GIVE_UP_RETIRE, GIVE_UP_EXIT };
enum ready_when { READY_AUTO, READY_ALIVE, READY_NOTIFY, READY_FD, READY_COMMAND, READY_HTTP };
enum scope { SCOPE_GROUP, SCOPE_PROCESS };
enum on_failure { ON_FAILURE_ROLLBACK, ON_FAILURE_STOP };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_LOGFMT, LOG_FORMAT_JSON };
enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
enum output_mode { OUTPUT_INHERIT, OUTPUT_CAPTURE };
enum overflow { OVERFLOW_DROP, OVERFLOW_BLOCK };
enum on_death { ON_DEATH_STOP, ON_DEATH_KEEP };
enum over_max_old { OVER_MAX_OLD_CUT, OVER_MAX_OLD_REFUSE };
enum cpu { CPU_ANY, CPU_PIN };
enum nonblock { NONBLOCK_KEEP, NONBLOCK_YES, NONBLOCK_NO };
enum balance {
	BALANCE_SHARED,
	BALANCE_HASH,
	BALANCE_ROUND_ROBIN,
	BALANCE_ROUND_ROBIN_OR_HASH, /* round-robin?: falls back to hash */
};

/* [cluster] activation: a set of bits. */
enum style {
	STYLE_SYSTEMD = 1 << 0,
	STYLE_SERVER_STARTER = 1 << 1,
	STYLE_EINHORN = 1 << 2,
	STYLE_NGINX = 1 << 3,
	STYLE_UNICORN = 1 << 4,
	STYLE_PUMA = 1 << 5,
	STYLE_PHP_FPM = 1 << 6,
};

/* A list of words: NUL-terminated strings one after the other. */
struct words {
	uint16_t count;
	uint16_t size; /* bytes of text in use, the NULs included */
	char text[WORDS_TEXT_MAX];
};

struct rlimit_pair {
	bool given;
	uint64_t soft, hard; /* UINT64_MAX = infinity */
};

struct optional {
	bool given;
	int32_t value;
};

struct ready_mode {
	enum ready_when when;
	char path[PATH_TEXT_MAX]; /* READY_HTTP: begins with / */
};

typedef char key_name[NAME_TEXT_MAX];
typedef char key_path[PATH_TEXT_MAX];
typedef struct words key_words;
typedef uint32_t key_count;  /* 0 = auto */
typedef uint32_t key_number;
typedef uint32_t key_limit;  /* 0 = none */
typedef uint32_t key_percent;
typedef uint64_t key_duration; /* ms */
typedef uint64_t key_bytes;
typedef bool key_flag;
typedef int32_t key_signo;
typedef uint32_t key_styles;
typedef struct optional key_octal;
typedef struct optional key_integer;
typedef struct rlimit_pair key_rlimit;
typedef struct ready_mode key_ready;
typedef struct address key_address;
typedef struct address key_address_or_off;
typedef enum restart_when key_restart;
typedef enum give_up key_give_up;
typedef enum scope key_scope;
typedef enum on_failure key_on_failure;
typedef enum log_format key_log_format;
typedef enum log_level key_log_level;
typedef enum output_mode key_output;
typedef enum overflow key_overflow;
typedef enum on_death key_on_death;
typedef enum over_max_old key_over_max_old;
typedef enum cpu key_cpu;
typedef enum nonblock key_nonblock;
typedef enum balance key_balance;

/* [listen NAME] */
struct listener {
	char name[NAME_TEXT_MAX];
#define LISTEN_KEY(section, name, type, ...) key_##type name;
#include "config/keys.def"
#undef LISTEN_KEY
};

enum exit_kind {
	EXIT_CODES,    /* low..high */
	EXIT_SIGNAL,   /* low = high = the number */
	EXIT_OOM,      /* killed for lack of memory */
	EXIT_TIMEOUT,  /* not ready in time */
	EXIT_WATCHDOG, /* hung */
};

enum exit_action { EXIT_RESPAWN, EXIT_BACKOFF, EXIT_RETIRE, EXIT_END };

/* [exit RULE]; one row per word of a RULE that lists several. */
struct exit_rule {
	enum exit_kind kind;
	int16_t low, high;
	enum exit_action action;
	bool has_delay;
	uint64_t delay_ms; /* instead of the policy's own, if has_delay */
};

struct policy {
#define KEY(section, name, type, ...) key_##type section##_##name;
#include "config/keys.def"
#undef KEY
	uint32_t listener_count;
	struct listener listeners[LISTENERS_MAX]; /* in the order of their fds: 3, 4, … */
	uint32_t rule_count;
	struct exit_rule rules[RULES_MAX];
	uint32_t env_count;
	uint32_t env_size;
	char env[ENV_TEXT_MAX]; /* NAME=value strings, NUL-terminated, one after the other */
};

/* A listener is for programs that bind by themselves; and one at a unix path. */
bool policy_adopts(const struct policy *policy);
bool policy_adopts_path(const struct policy *policy);

/*
 * One socket in two policies. What it is called may change, but where the kernel chooses the port nothing
 * else tells one from another.
 */
bool listener_same(const struct listener *a, const struct listener *b);

#endif
