/*
 * refused - which values were complained about while a policy was put together.
 *
 * A key keeps its old value when a new one is refused, so that what config_check would say about
 * the two together would be an echo of a complaint that was made already. PURE.
 */
#ifndef CLUSTERD_CONFIG_REFUSED_H
#define CLUSTERD_CONFIG_REFUSED_H

#include "config/load.h"

/*
 * Marks a key; all keys of the section if there is none of this name or `key` is NULL; and the
 * listener `instance`, all of them if it is NULL, in a section `listen`.
 */
void config_refuse(struct config *config, const char *section, const char *instance,
		   const char *key);

/*
 * Was "cluster.directory" refused; or any key of the section "cluster"? For "listen": any
 * listener's. A key of a listener or a rule has no answer of its own.
 */
bool config_refused(const struct config *config, const char *name);

#endif
