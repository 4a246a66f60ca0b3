# Kconfig: one generated header, config.h, and CONFIG_* variables for the build.
# With kconfiglib the files are checked against Kconfig; without it they are taken
# as they are, which is why default.config is complete.

option(DOORSTEP_KCONFIGLIB "Check the configuration with kconfiglib where it is installed" ON)
set(doorstep_config_dir ${CMAKE_BINARY_DIR}/generated)
file(MAKE_DIRECTORY ${doorstep_config_dir})

set(config_files "")
foreach(file ${DOORSTEP_CONFIG})
	get_filename_component(file ${file} ABSOLUTE BASE_DIR ${CMAKE_SOURCE_DIR})
	list(APPEND config_files ${file})
endforeach()
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS
	${config_files} ${CMAKE_SOURCE_DIR}/Kconfig ${CMAKE_SOURCE_DIR}/scripts/kconfig.py)

# where the system's Python has kconfiglib, the one found first in PATH may not
set(config_done FALSE)
set(pythons "")
if(DOORSTEP_KCONFIGLIB)
	set(pythons python3 /usr/bin/python3)
endif()
foreach(python ${pythons})
	execute_process(
		COMMAND ${python} scripts/kconfig.py ${doorstep_config_dir}/new ${config_files}
		WORKING_DIRECTORY ${CMAKE_SOURCE_DIR}
		RESULT_VARIABLE status ERROR_VARIABLE problems OUTPUT_QUIET)
	if(status EQUAL 0)
		set(config_done TRUE)
		break()
	elseif(status EQUAL 1)
		message(FATAL_ERROR "configuration (${DOORSTEP_CONFIG}):\n${problems}")
	endif()
endforeach()

# every CONFIG_X=value line, later ones winning
function(read_config out_names)
	set(names "")
	foreach(file ${ARGN})
		file(STRINGS ${file} lines REGEX "^(# )?CONFIG_[A-Z0-9_]+( is not set|=.*)$")
		foreach(line ${lines})
			if(line MATCHES "^# (CONFIG_[A-Z0-9_]+) is not set$")
				set(value "n")
			elseif(line MATCHES "^(CONFIG_[A-Z0-9_]+)=(.*)$")
				set(value "${CMAKE_MATCH_2}")
			endif()
			set(${CMAKE_MATCH_1} "${value}" PARENT_SCOPE)
			list(APPEND names ${CMAKE_MATCH_1})
		endforeach()
	endforeach()
	list(REMOVE_DUPLICATES names)
	set(${out_names} ${names} PARENT_SCOPE)
endfunction()

if(config_done)
	read_config(config_names ${doorstep_config_dir}/new/config)
	configure_file(${doorstep_config_dir}/new/config.h ${doorstep_config_dir}/config.h COPYONLY)
else()
	message(STATUS "no kconfiglib: ${DOORSTEP_CONFIG} taken unchecked")
	read_config(config_names ${config_files})
	set(header "")
	foreach(name ${config_names})
		if("${${name}}" STREQUAL "y")
			string(APPEND header "#define ${name} 1\n")
		elseif(NOT "${${name}}" STREQUAL "n")
			string(APPEND header "#define ${name} ${${name}}\n")
		endif()
	endforeach()
	file(CONFIGURE OUTPUT ${doorstep_config_dir}/config.h CONTENT "${header}" @ONLY)
endif()
