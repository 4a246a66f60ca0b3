# How the C tests are built and run. Labels for ctest -L: unit, replay, corpus.

set(fuzzing FALSE)
if(DOORSTEP_SANITIZE MATCHES fuzzer)
	set(fuzzing TRUE)
endif()

# what runs emulated
function(doorstep_emulated target)
	if(CMAKE_CROSSCOMPILING_EMULATOR)
		target_sources(${target} PRIVATE ${CMAKE_SOURCE_DIR}/tests/support/qemu_user.c)
		target_link_options(${target} PRIVATE -Wl,--wrap=pthread_mutexattr_setrobust
			-Wl,--wrap=getsockopt -Wl,--wrap=recv)
	endif()
endfunction()

# sources of a test find their room's headers, tests/, and TESTS_DIR, the tests folder as a string
function(doorstep_test_program target room source)
	add_executable(${target} ${source} ${ARGN})
	target_include_directories(${target} PRIVATE ${CMAKE_SOURCE_DIR}/tests)
	target_compile_definitions(${target} PRIVATE TESTS_DIR="${CMAKE_SOURCE_DIR}/tests")
	target_link_libraries(${target} PRIVATE ${room} doorstep_flags)
	doorstep_emulated(${target})
endfunction()

function(doorstep_add_test target label)
	add_test(NAME ${label}/${target} COMMAND ${target} ${ARGN}
		WORKING_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR})
	set_tests_properties(${label}/${target} PROPERTIES LABELS ${label} TIMEOUT 300)
endfunction()

# doorstep_unit_tests(path/name_test.c ...): cmocka programs below tests/unit
function(doorstep_unit_tests)
	if(fuzzing)
		return()
	endif()
	foreach(source ${ARGN})
		string(REGEX REPLACE "/.*" "" room ${source})
		string(REGEX REPLACE "\\.c$" "" target ${source})
		string(REPLACE "/" "_" target ${target})
		doorstep_test_program(${target} ${room} unit/${source})
		target_link_libraries(${target} PRIVATE PkgConfig::cmocka)
		doorstep_add_test(${target} unit)
	endforeach()
endfunction()

# doorstep_replay_test(NAME ROOM [more sources]): tests/replay/NAME_test.c
function(doorstep_replay_test name room)
	if(fuzzing)
		return()
	endif()
	doorstep_test_program(${name}_replay ${room} replay/${name}_test.c ${ARGN})
	target_link_libraries(${name}_replay PRIVATE PkgConfig::cmocka)
	doorstep_add_test(${name}_replay replay)
endfunction()

# doorstep_fuzz_target(NAME ROOM [more sources]): tests/fuzz/NAME_fuzz.c. In the fuzz
# preset a libFuzzer program; elsewhere a program that runs the corpus once.
function(doorstep_fuzz_target name room)
	set(target ${name}_fuzz)
	if(fuzzing)
		doorstep_test_program(${target} ${room} fuzz/${name}_fuzz.c ${ARGN})
		target_link_options(${target} PRIVATE -fsanitize=fuzzer)
		set_property(GLOBAL APPEND_STRING PROPERTY doorstep_fuzz_names "${name}\n")
		set_target_properties(${target} PROPERTIES
			RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz)
	else()
		doorstep_test_program(${target} ${room} fuzz/${name}_fuzz.c fuzz/replay_main.c ${ARGN})
		doorstep_add_test(${target} corpus ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/corpus/${name})
	endif()
	target_compile_options(${target} PRIVATE -Wno-missing-prototypes)
endfunction()
