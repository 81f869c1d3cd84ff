#include "config/policy.h"

#include <string.h>

bool policy_adopts(const struct policy *policy)
{
	for (uint32_t i = 0; i < policy->listener_count; i++)
		if (policy->listeners[i].adopt)
			return true;
	return false;
}

bool policy_adopts_path(const struct policy *policy)
{
	for (uint32_t i = 0; i < policy->listener_count; i++)
		if (policy->listeners[i].adopt && policy->listeners[i].address.kind == ADDRESS_UNIX)
			return true;
	return false;
}

bool listener_same(const struct listener *a, const struct listener *b)
{
	return address_equal(&a->address, &b->address) ||
	       (strcmp(a->name, b->name) == 0 && address_same(&a->address, &b->address));
}
