/*
 * suite - main() of a unit test: one suite with one case.
 *
 * libcheck's own variables work with it: CK_VERBOSITY, CK_FORK, CK_RUN_CASE, CK_XML_LOG_FILE_NAME.
 */
#ifndef CLUSTERD_TESTS_UNIT_SUITE_H
#define CLUSTERD_TESTS_UNIT_SUITE_H

#include <check.h>
#include <stdlib.h>

/* Of one test. libcheck's own 4 s end good ones on a machine that is busy with other things. */
enum { TEST_SECONDS = 60 };

/* add_tests() puts fixtures and tests into the case. Returns what main() returns. */
static inline int run_suite(const char *name, void (*add_tests)(TCase *))
{
	Suite *suite = suite_create(name);
	TCase *tests = tcase_create(name);
	SRunner *runner = srunner_create(suite);
	int failures;

	suite_add_tcase(suite, tests);
	tcase_set_timeout(tests, TEST_SECONDS);
	add_tests(tests);
	srunner_run_all(runner, CK_ENV);
	failures = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failures > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
