/* hear: who is closed, or freed, while a batch is told is not called any more. */
#include "supervisor/hear.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "supervisor/os/filelimit.h"
#include "tests/unit/suite.h"

enum { TALKERS = 600 }; /* more than two batches */

struct talker {
	struct ear ear;
	int ends[2];
	int heard;
	struct talker *silences; /* whom it closes and frees when it is heard, or NULL */
};

static uv_loop_t loop;
static struct hearing hearing;
static struct talker *talkers[TALKERS];
static int told;

static void on_told(void *context)
{
	ck_assert_ptr_eq(context, &loop);
	told++;
}

static void talker_free(struct talker *t)
{
	for (int i = 0; i < TALKERS; i++)
		if (talkers[i] == t)
			talkers[i] = NULL;
	ear_close(&hearing, &t->ear);
	close(t->ends[0]);
	close(t->ends[1]);
	free(t);
}

static void on_heard(void *owner)
{
	struct talker *t = owner, *victim = t->silences;
	char byte;

	ck_assert_int_eq(read(t->ends[0], &byte, 1), 1);
	t->heard++;
	t->silences = NULL;
	if (victim)
		talker_free(victim);
}

static struct talker *talker_new(void)
{
	struct talker *t = calloc(1, sizeof *t);

	ck_assert_int_eq(pipe2(t->ends, O_CLOEXEC), 0);
	ck_assert_int_eq(ear_open(&hearing, &t->ear, t->ends[0], on_heard, t), 0);
	return t;
}

static void talk(struct talker *t)
{
	ck_assert_int_eq(write(t->ends[1], "x", 1), 1);
}

static void setup(void)
{
	ck_assert_int_eq(filelimit_raise(2 * TALKERS + 64), 0); /* a session often begins with 1024 */
	ck_assert_int_eq(uv_loop_init(&loop), 0);
	ck_assert_int_eq(hear_start(&hearing, &loop, on_told, &loop), 0);
	told = 0;
}

static void teardown(void)
{
	for (int i = 0; i < TALKERS; i++)
		if (talkers[i])
			talker_free(talkers[i]);
	hear_stop(&hearing);
	hear_stop(&hearing);
	uv_run(&loop, UV_RUN_DEFAULT);
	ck_assert_int_eq(uv_loop_close(&loop), 0);
}

/* Everything that waits is read in one turn of the loop, however much it is. */
START_TEST(all_in_one_turn)
{
	for (int i = 0; i < TALKERS; i++)
		talk(talkers[i] = talker_new());
	uv_run(&loop, UV_RUN_NOWAIT);
	for (int i = 0; i < TALKERS; i++)
		ck_assert_int_eq(talkers[i]->heard, 1);
	ck_assert_int_eq(told, TALKERS / HEAR_BATCH + 1);
	uv_run(&loop, UV_RUN_NOWAIT);
	ck_assert_int_eq(talkers[0]->heard, 1);
}
END_TEST

/* Of two that talk at once one silences the other: only one of them is heard, whoever comes first. */
START_TEST(closed_within_a_batch)
{
	struct talker *a = talker_new(), *b = talker_new();
	int left = 0;

	talkers[0] = a;
	talkers[1] = b;
	a->silences = b;
	b->silences = a;
	talk(a);
	talk(b);
	uv_run(&loop, UV_RUN_NOWAIT);
	for (int i = 0; i < 2; i++)
		if (talkers[i])
			left += talkers[i]->heard;
	ck_assert_int_eq(left, 1);
	ck_assert(!talkers[0] || !talkers[1]);
}
END_TEST

/* It may go while it is called itself, and a hang-up is heard like bytes. */
START_TEST(closes_itself)
{
	struct talker *t = talkers[0] = talker_new();

	t->silences = t;
	talk(t);
	uv_run(&loop, UV_RUN_NOWAIT);
	ck_assert_ptr_null(talkers[0]);
}
END_TEST

/* A closed ear stays closed although its descriptor is still readable, and opens again. */
START_TEST(opens_again)
{
	struct talker *t = talkers[0] = talker_new();

	talk(t);
	ear_close(&hearing, &t->ear);
	ck_assert(!t->ear.open);
	ear_close(&hearing, &t->ear);
	uv_run(&loop, UV_RUN_NOWAIT);
	ck_assert_int_eq(t->heard, 0);
	ck_assert_int_eq(ear_open(&hearing, &t->ear, t->ends[0], on_heard, t), 0);
	uv_run(&loop, UV_RUN_NOWAIT);
	ck_assert_int_eq(t->heard, 1);
}
END_TEST

START_TEST(refused)
{
	struct ear ear = { .open = true };

	ck_assert_int_eq(ear_open(&hearing, &ear, -1, on_heard, NULL), -EBADF);
	ck_assert(!ear.open);
	ear_close(&hearing, &ear);
}
END_TEST

static void add_tests(TCase *tests)
{
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, all_in_one_turn);
	tcase_add_test(tests, closed_within_a_batch);
	tcase_add_test(tests, closes_itself);
	tcase_add_test(tests, opens_again);
	tcase_add_test(tests, refused);
}

int main(void)
{
	return run_suite("glue/hear", add_tests);
}
