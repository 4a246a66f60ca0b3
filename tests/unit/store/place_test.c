#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "store/place.h"

/* Source: statfs(2), <linux/magic.h> */
static void names_of_file_systems(void **state)
{
	(void)state;
	assert_string_equal(place_file_system_name(0x72b6), "jffs2");
	assert_string_equal(place_file_system_name(0x24051905), "ubifs");
	assert_string_equal(place_file_system_name(0xf2f52010), "f2fs");
	assert_string_equal(place_file_system_name(0x01021994), "tmpfs");
	assert_string_equal(place_file_system_name(0xef53), "ext4");
	assert_null(place_file_system_name(0x794c7630)); /* an overlay is none itself */
	assert_null(place_file_system_name(0));
}

static void of_a_path(void **state)
{
	(void)state;
	assert_null(place_file_system("/nowhere/at/all"));
	if (access("/dev/shm", F_OK) != 0 || !place_is_volatile("/dev/shm"))
		skip();
	assert_string_equal(place_file_system("/dev/shm"), "tmpfs");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_of_file_systems),
		cmocka_unit_test(of_a_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
