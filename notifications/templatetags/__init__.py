"""`{% load carillon %}`"""
