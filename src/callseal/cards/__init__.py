"""The guards: may this audio be kept?"""
