# Compiler and linker flags, in one interface library that every target of ours links.
# No -O level here: it belongs to the build type, and packagers choose their own.

include(CheckCCompilerFlag)
include(CheckPIESupported)

add_library(doorstep_flags INTERFACE)

# POSIX.1-2008 and what every C library of the BSD line has besides; nothing of GNU's own
target_compile_definitions(doorstep_flags INTERFACE
	_POSIX_C_SOURCE=200809L _DEFAULT_SOURCE _FILE_OFFSET_BITS=64)

target_compile_options(doorstep_flags INTERFACE
	-Wall -Wextra -Wshadow -Wconversion -Wvla -Wmissing-prototypes -Wswitch-enum -Wformat=2
	-fno-strict-aliasing -fno-common -ffunction-sections -fdata-sections
	$<$<BOOL:${DOORSTEP_WERROR}>:-Werror>)
target_link_options(doorstep_flags INTERFACE -Wl,--gc-sections -Wl,--as-needed)

if(DOORSTEP_SANITIZE)
	set(sanitize -fsanitize=${DOORSTEP_SANITIZE})
	target_compile_options(doorstep_flags INTERFACE
		${sanitize} -fno-sanitize-recover=all -fno-omit-frame-pointer)
	string(REPLACE "fuzzer-no-link," "" link_sanitize "${sanitize}")
	target_link_options(doorstep_flags INTERFACE ${link_sanitize})
endif()

if(DOORSTEP_HARDEN)
	check_pie_supported(LANGUAGES C)
	set(CMAKE_POSITION_INDEPENDENT_CODE ON)
	target_compile_options(doorstep_flags INTERFACE
		-fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
	set(CMAKE_REQUIRED_FLAGS -Werror) # clang only warns of what a processor does not have
	check_c_compiler_flag(-fstack-clash-protection has_stack_clash_protection)
	unset(CMAKE_REQUIRED_FLAGS)
	if(has_stack_clash_protection)
		target_compile_options(doorstep_flags INTERFACE -fstack-clash-protection)
	endif()
	target_link_options(doorstep_flags INTERFACE
		-Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack)
endif()
