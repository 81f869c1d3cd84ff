#include "supervisor/owner.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdint.h>

#include "supervisor/core/proto.h"

static int by_number(const char *name, uint32_t *ret)
{
	return proto_number(name, UINT32_MAX - 1, ret) ? 0 : -ENOENT;
}

int owner_user(const char *name, uid_t *ret)
{
	const struct passwd *user = getpwnam(name);

	if (!user)
		return by_number(name, ret);
	*ret = user->pw_uid;
	return 0;
}

int owner_group(const char *name, gid_t *ret)
{
	const struct group *group = getgrnam(name);

	if (!group)
		return by_number(name, ret);
	*ret = group->gr_gid;
	return 0;
}
