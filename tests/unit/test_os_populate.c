#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "supervisor/os/populate.h"
#include "tests/unit/suite.h"

enum { PAGES = 8 };

static size_t there(const unsigned char *memory, size_t page)
{
	unsigned char state[PAGES];
	size_t count = 0;

	ck_assert_int_eq(mincore((void *)(uintptr_t)memory, PAGES * page, state), 0);
	for (int i = 0; i < PAGES; i++)
		count += state[i] & 1;
	return count;
}

START_TEST(the_pages_that_lie_within)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	unsigned char *memory = mmap(NULL, PAGES * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ck_assert_ptr_ne(memory, MAP_FAILED);
	populate(memory + 1, page); /* no whole one */
	populate(memory, 0);
	populate(NULL, page);
	ck_assert_uint_eq(there(memory, page), 0);
	memory[3 * page] = 7;
	populate(memory + page - 1, 4 * page + 2);
	ck_assert_uint_eq(memory[3 * page], 7);
	if (there(memory, page) != 1) /* a kernel before 5.14 */
		ck_assert_uint_eq(there(memory, page), 4);
	munmap(memory, PAGES * page);
}
END_TEST

static void add_tests(TCase *tests)
{
	tcase_add_test(tests, the_pages_that_lie_within);
}

int main(void)
{
	return run_suite("os/populate", add_tests);
}
