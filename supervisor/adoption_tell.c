/*
 * adoption_tell - why a program that binds by itself came to nothing, and the way out.
 *
 * GLUE. Each is said once, but for a worker that is not ready in time.
 */
#include "supervisor/adoption.h"

/* Said when a worker counts as not started in time, or ends before it was ready. */
void adoption_explain(struct supervisor *s, uint32_t cookie)
{
	char text[ADDRESS_TEXT_MAX];

	for (const struct adoption *a = s->adoptions; a; a = a->next) {
		if (a->cookie != cookie || a->given)
			continue;
		address_format(&a->other, text);
		if (a->other.kind == ADDRESS_NONE)
			sup_note(s, LOG_LEVEL_WARN,
			         "adopt: worker %u never bound an address: if it takes its "
			         "socket from fd 3, leave out adopt", a->slot);
		else
			sup_note(s, LOG_LEVEL_WARN,
			         "adopt: worker %u never bound the address of a listener, but %s: "
			         "name that with -l, or tell the program the port (PORT is set)",
			         a->slot, text);
	}
}

/*
 * Whether that bind failed nobody knows but the program: the kernel has made it. With a port that is no
 * listener's, for metrics say, the first worker runs and the others end.
 */
static void tell_second(struct supervisor *s, const struct worker *worker)
{
	char text[ADDRESS_TEXT_MAX];

	if (!worker->given || worker->other.port == 0 || worker->reaped.code == 0 || s->adopt_second)
		return;
	s->adopt_second = true;
	address_format(&worker->other, text);
	sup_note(s, LOG_LEVEL_WARN,
	         "adopt: worker %u ended, and it had bound %s as well, which is no listener's, so that one "
	         "worker alone can have it; if it says that its address is in use, name that with -l too",
	         worker->slot, text);
}

/* Of a program whose bind the filter does not see there is only its end to go by. */
void adoption_missed(struct supervisor *s, const struct worker *worker)
{
	tell_second(s, worker);
	if (worker->served || s->adopt_missed || s->adopt_blind || !policy_adopts(&s->policy))
		return;
	s->adopt_missed = true;
	sup_note(s, LOG_LEVEL_WARN,
	         "adopt: worker %u ended before it had a socket; if it says that its address is in use, it binds "
	         "through io_uring or is a 32-bit program, which is not seen: let it listen on fd 3, and leave "
	         "out adopt", worker->slot);
}
